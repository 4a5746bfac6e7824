-- outlived: removes the records of jobs of many chunks whose time to live is over. See live.lua.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, then the names of jobs in the set large.
-- Reply: how many records were removed.

local prefix, removed = 'distpool:{' .. ARGV[1] .. '}:', 0
for i = 2, #ARGV do
  local key = prefix .. 'job:' .. ARGV[i]
  local left = redis.call('PTTL', key)
  if left ~= -1 and left <= later then
    removed = removed + redis.call('UNLINK', key)
    redis.call('SREM', prefix .. 'large', ARGV[i])
  end
end
return removed
