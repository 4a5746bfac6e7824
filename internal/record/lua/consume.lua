-- consume: the outcomes of chunks have reached the only one who wants them, and
-- leave the record. The counts stay. Consuming a chunk twice changes nothing.
--
-- ARGV: the chunks.
-- Reply: how many of them had outcomes here.
--
-- A chunk is in the list of the order if and only if its outcomes are here. The
-- list is as short as what was recorded and not consumed, so LREM is cheap.

local removed = redis.call('HDEL', KEYS[3], unpack(ARGV))
local failed = redis.call('HGET', KEYS[1], 'failed')
for i = 1, #ARGV do
  if failed and failed ~= '0' then
    local kept = redis.call('HSTRLEN', KEYS[5], ARGV[i] .. ':failed')
    if redis.call('HDEL', KEYS[5], ARGV[i] .. ':failed') == 1 then
      redis.call('HINCRBY', KEYS[1], 'kept', 0 - kept) -- minus nothing would be "-0", which Redis refuses
    end
  end
  redis.call('LREM', KEYS[4], 1, ARGV[i])
end
return removed
