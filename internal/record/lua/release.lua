-- release: worker gives the chunk back unfinished, alive and on purpose, so the
-- next owner need not wait for its death and the chunk's budget is not charged.
--
-- ARGV: 1 chunk, 2 worker, 3 partial outcomes to keep ("" for none), 4 how many
-- calls they finish, 5 the job's generation.
-- Reply: 1 released; 0 the chunk is not worker's (any more).

local j = redis.call('HMGET', KEYS[1], 'inline', 'gen')
local inline = j[1]
if another(j[2], ARGV[5]) then
  return 0
end
local ak, af, _, _, rk, rf = places(inline, ARGV[1])
if redis.call('HGET', rk, rf) ~= ARGV[2] then
  return 0
end
hold(inline, -1)
if redis.call('HEXISTS', ak, af) == 0 then
  redis.call('HDEL', rk, rf)
  return 0
end
redis.call('HSET', rk, rf, '')
if ARGV[3] ~= '' then
  local before = redis.call('HGET', rk, rf .. ':done') or '0'
  redis.call('HSET', rk, rf .. ':part', ARGV[3], rf .. ':done', ARGV[4])
  redis.call('HINCRBY', KEYS[1], 'done', tonumber(ARGV[4]) - tonumber(before))
end
return 1
