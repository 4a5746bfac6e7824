-- discard: removes large frames that are not the job's.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the job's name, then the tokens.
-- Reply: how many were removed.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local removed = 0
for i = 3, #ARGV do
  if redis.call('SISMEMBER', prefix .. 'frames:' .. ARGV[2], ARGV[i]) == 0 then
    removed = removed + redis.call('UNLINK', prefix .. 'frame:' .. ARGV[2] .. ':' .. ARGV[i])
  end
end
return removed
