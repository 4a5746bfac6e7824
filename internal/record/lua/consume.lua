-- consume: the outcomes of chunks have reached the only one who wants them, and
-- leave the record. The counts stay. Consuming a chunk twice changes nothing.
--
-- ARGV: the chunks.
-- Reply: how many of them had outcomes here.
--
-- A chunk is in the list of the order if and only if its outcomes are here. The
-- list is as short as what was recorded and not consumed, so LREM is cheap.

local j = redis.call('HMGET', KEYS[1], 'failed', 'blobs')
local failed, blobs = j[1], j[2]
local frames = blobs and large()
if frames then
  for i = 1, #ARGV do
    frames.drop(frames.reference(KEYS[3], ARGV[i]))
  end
end
local removed = redis.call('HDEL', KEYS[3], unpack(ARGV))
for i = 1, #ARGV do
  if failed and failed ~= '0' then
    local field = ARGV[i] .. ':failed'
    local kept = redis.call('HSTRLEN', KEYS[5], field)
    if frames then
      local args = frames.reference(KEYS[5], field)
      local _, size = frames.find(args)
      kept = size or kept
      frames.drop(args)
    end
    if redis.call('HDEL', KEYS[5], field) == 1 then
      redis.call('HINCRBY', KEYS[1], 'kept', 0 - kept) -- minus nothing would be "-0", which Redis refuses
    end
  end
  redis.call('LREM', KEYS[4], 1, ARGV[i])
end
return removed
