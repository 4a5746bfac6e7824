-- record: the outcomes of a chunk. The first recording wins.
--
-- ARGV: 1 chunk, 2 framed outcomes, 3 calls in it, 4 failed calls in it, 5
-- largest outcome (bytes) that travels inside the notice, 6 the job's generation,
-- 7 how long its slowest call took (ms; "" if nobody measured), 8 "<call> <worker>".
-- Reply: "ok"; or, with nothing changed: "recorded" (it has an outcome already),
-- "canceled", "gone".

return recording()
