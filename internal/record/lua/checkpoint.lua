-- checkpoint: worker saves what a running chunk has so far.
--
-- KEYS: 1-5 the job, then those of large partial outcomes.
-- ARGV: 1 chunk, 2 worker, 3 partial outcomes ("" to save none), or the reference to
-- large ones, 4 how many calls they finish, 5 the job's generation.
-- Reply: the job's state; "gone"; or "lost" when the chunk is not worker's (any
-- more), and then nothing was changed. Or an error: see damage in common.lua.

local j = redis.call('HMGET', KEYS[1], 'state', 'inline', 'reply', 'id', 'recorded', 'failed', 'gen', 'chunks')
if not j[1] or another(j[7], ARGV[5]) then
  spurn_part(ARGV[3])
  return 'gone'
end
if j[1] == 'done' or j[1] == 'canceled' then
  spurn_part(ARGV[3])
  return j[1]
end
local ak, af, _, _, rk, rf = places(j[2], ARGV[1])
local r = redis.call('HMGET', rk, rf, rf .. ':done')
if r[1] and r[1] ~= ARGV[2] then
  spurn_part(ARGV[3])
  return 'lost'
end
if redis.call('HEXISTS', ak, af) == 0 then
  spurn_part(ARGV[3])
  return damage(j[1], j[2], j[8], j[5]) or 'lost'
end
if not r[1] then -- Redis has lost its owner, and no other worker has begun it
  redis.call('HSET', rk, rf, ARGV[2])
  live_along(rk)
end
if ARGV[3] ~= '' then
  local problem = save_part(rk, rf, ARGV[3])
  if problem then
    return problem
  end
  redis.call('HSET', rk, rf .. ':done', ARGV[4])
  local moved = tonumber(ARGV[4]) - tonumber(r[2] or '0')
  if moved ~= 0 then
    local done = redis.call('HINCRBY', KEYS[1], 'done', moved)
    notify(j[3], j[4], 'part', ARGV[1], j[5], done, j[6], j[1], '', hold(j[2], 0))
  end
end
return j[1]
