-- Whether a file is in use is asked before it is attached and before it is removed: without these, each time all
-- messages are read.
CREATE INDEX messages_file ON messages (file_id);
CREATE INDEX jobs_file ON jobs (file_id);
