-- 20,000 orders, the same ones each time; none are added to a shop that has some.
CREATE TABLE IF NOT EXISTS orders (
    id bigint PRIMARY KEY,
    customer text NOT NULL,
    article text NOT NULL,
    cents bigint NOT NULL,
    ordered_at timestamptz NOT NULL
);

INSERT INTO orders
SELECT n,
       'customer-' || n % 997,
       (ARRAY ['chair', 'table', 'lamp', 'shelf'])[1 + n % 4],
       499 + n * 7919 % 100000,
       timestamptz '2026-01-01 00:00:00+00' + n * interval '17 minutes'
FROM generate_series(1, 20000) AS n
WHERE NOT EXISTS (SELECT FROM orders);
