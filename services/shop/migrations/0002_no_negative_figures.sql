-- The database itself refuses a price or a stock below nothing. SQLite adds no constraint to a table that exists,
-- so both engines get the table anew.
CREATE TABLE products_checked (
    sku     TEXT   NOT NULL PRIMARY KEY,
    name_en TEXT   NOT NULL,
    name_es TEXT   NOT NULL,
    cents   BIGINT NOT NULL CHECK (cents >= 0),
    stock   BIGINT NOT NULL CHECK (stock >= 0)
);

INSERT INTO products_checked (sku, name_en, name_es, cents, stock)
SELECT sku, name_en, name_es, cents, stock FROM products;

DROP TABLE products;

ALTER TABLE products_checked RENAME TO products;
