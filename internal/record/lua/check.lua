-- check: can a live job still end?
--
-- ARGV: 1 the job's generation, 2 chunks that it is known to have had, at least,
-- 3 "1" if it is known to have been sealed.
-- Reply: the job's state, or "gone"; or an error: see damage in common.lua.

local j = redis.call('HMGET', KEYS[1], 'state', 'inline', 'chunks', 'recorded', 'gen', 'expires')
if not j[1] or another(j[5], ARGV[1]) then
  return 'gone'
end
if j[1] == 'done' or j[1] == 'canceled' then
  return j[1]
end
local problem = damage(j[1], j[2], j[3], j[4])
if problem then
  return problem
end
-- A key of a wrong type is an error.
redis.call('HLEN', KEYS[3])
redis.call('LRANGE', KEYS[4], 0, 0)
redis.call('HLEN', KEYS[5])
if j[6] and not tonumber(j[6]) then
  return redis.error_reply('DAMAGED corrupt: field expires is "' .. j[6] .. '"')
end
if j[2] ~= '1' and (tonumber(j[3]) < tonumber(ARGV[2]) or (ARGV[3] == '1' and j[1] == 'open')) then
  return redis.error_reply('DAMAGED missing: Redis has lost a part of what was submitted')
end
return j[1]
