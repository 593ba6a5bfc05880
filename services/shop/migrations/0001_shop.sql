-- The shop's tables. One dialect for SQLite and PostgreSQL: TEXT ids, BIGINT microseconds since the Unix epoch
-- (UTC), 0/1 for booleans. The tables of inbox, outbox and ledger come from campana-bus-sqlx.

CREATE TABLE products (
    sku     TEXT   NOT NULL PRIMARY KEY,
    name_en TEXT   NOT NULL,
    name_es TEXT   NOT NULL,
    cents   BIGINT NOT NULL,
    stock   BIGINT NOT NULL
);

INSERT INTO products (sku, name_en, name_es, cents, stock) VALUES
    ('bell-brass', 'Brass bell', 'Campana de latón', 4200, 500),
    ('bell-door', 'Door bell', 'Timbre de puerta', 1850, 500),
    ('chime-wind', 'Wind chime', 'Carillón de viento', 2600, 500),
    ('gong-small', 'Small gong', 'Gong pequeño', 7900, 500);

-- Written in one transaction with the outbox: an order and its event, or neither.
CREATE TABLE orders (
    id        TEXT   NOT NULL PRIMARY KEY,
    customer  TEXT   NOT NULL,
    email     TEXT   NOT NULL,
    locale    TEXT   NOT NULL,
    units     BIGINT NOT NULL,
    cents     BIGINT NOT NULL,
    placed_at BIGINT NOT NULL
);
CREATE INDEX orders_by_time ON orders (placed_at);

CREATE TABLE order_lines (
    order_id TEXT   NOT NULL,
    sku      TEXT   NOT NULL,
    quantity BIGINT NOT NULL,
    cents    BIGINT NOT NULL,
    PRIMARY KEY (order_id, sku)
);

-- What the queue's workers did.
CREATE TABLE packed (
    order_id  TEXT   NOT NULL PRIMARY KEY,
    worker    TEXT   NOT NULL,
    packed_at BIGINT NOT NULL
);

-- What the topic's three readers did, each in a table of its own.
CREATE TABLE reserved (
    order_id    TEXT   NOT NULL PRIMARY KEY,
    short       BIGINT NOT NULL,
    reserved_at BIGINT NOT NULL
);
CREATE TABLE confirmed (
    order_id     TEXT   NOT NULL PRIMARY KEY,
    notification TEXT   NOT NULL,
    confirmed_at BIGINT NOT NULL
);
CREATE TABLE counted (
    order_id   TEXT   NOT NULL PRIMARY KEY,
    counted_at BIGINT NOT NULL
);
CREATE TABLE sales_by_hour (
    hour   BIGINT NOT NULL PRIMARY KEY,
    orders BIGINT NOT NULL,
    units  BIGINT NOT NULL,
    cents  BIGINT NOT NULL
);

-- The projection, and up to which message of which stream it goes.
CREATE TABLE best_sellers (
    sku    TEXT   NOT NULL PRIMARY KEY,
    orders BIGINT NOT NULL,
    units  BIGINT NOT NULL,
    cents  BIGINT NOT NULL
);
CREATE TABLE projections (
    name       TEXT   NOT NULL PRIMARY KEY,
    epoch      TEXT   NOT NULL,
    sequence   BIGINT NOT NULL,
    events     BIGINT NOT NULL,
    rebuilt_at BIGINT NOT NULL
);
INSERT INTO projections (name, epoch, sequence, events, rebuilt_at) VALUES ('best_sellers', '', 0, 0, 0);

-- What the nightly report found.
CREATE TABLE reports (
    day     TEXT   NOT NULL PRIMARY KEY,
    orders  BIGINT NOT NULL,
    units   BIGINT NOT NULL,
    cents   BIGINT NOT NULL,
    short   BIGINT NOT NULL,
    made_at BIGINT NOT NULL
);
