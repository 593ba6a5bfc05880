-- A file whose bytes are about to be removed: nobody is shown it any more, and whoever is killed in between finds it
-- again by this mark.
ALTER TABLE files ADD COLUMN gone BIGINT NOT NULL DEFAULT 0;
