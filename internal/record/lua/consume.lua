-- consume: the outcomes of chunks have reached the only one who wants them, and
-- leave the record. The counts stay. Consuming a chunk twice changes nothing.
--
-- ARGV: the chunks.
-- Reply: how many of them had outcomes here.
--
-- A chunk is in the list of the order if and only if its outcomes are here. The
-- list is as short as what was recorded and not consumed, so LREM is cheap.

local removed = redis.call('HDEL', KEYS[3], unpack(ARGV))
for i = 1, #ARGV do
  redis.call('LREM', KEYS[4], 1, ARGV[i])
end
return removed
