-- release: worker gives the chunk back unfinished, alive and on purpose, so the
-- next owner need not wait for its death and the chunk's budget is not charged.
--
-- KEYS: 1-5 the job, then those of large partial outcomes.
-- ARGV: 1 chunk, 2 worker, 3 partial outcomes to keep ("" for none), or the reference
-- to large ones, 4 how many calls they finish, 5 the job's generation.
-- Reply: 1 released; 0 the chunk is not worker's (any more); or an error: see damage
-- in common.lua.

local j = redis.call('HMGET', KEYS[1], 'inline', 'gen', 'state', 'chunks', 'recorded')
local inline = j[1]
if not j[3] or another(j[2], ARGV[5]) then
  spurn_part(ARGV[3])
  return 0
end
local ak, af, _, _, rk, rf = places(inline, ARGV[1])
local owner = redis.call('HGET', rk, rf)
if owner and owner ~= ARGV[2] then
  spurn_part(ARGV[3])
  return 0
end
if redis.call('HEXISTS', ak, af) == 0 then
  spurn_part(ARGV[3])
  if redis.call('HDEL', rk, rf) == 1 then
    hold(inline, -1)
  end
  local alive = j[3] ~= 'done' and j[3] ~= 'canceled'
  return alive and damage(j[3], inline, j[4], j[5]) or 0
end
local problem = ARGV[3] ~= '' and save_part(rk, rf, ARGV[3])
if problem then
  return problem
end
redis.call('HSET', rk, rf, '')
if owner then
  hold(inline, -1)
else -- Redis has lost who had it
  live_along(rk)
end
if ARGV[3] ~= '' then
  local before = redis.call('HGET', rk, rf .. ':done') or '0'
  redis.call('HSET', rk, rf .. ':done', ARGV[4])
  redis.call('HINCRBY', KEYS[1], 'done', tonumber(ARGV[4]) - tonumber(before))
end
return 1
