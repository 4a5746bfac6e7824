-- create: a new job, with the chunks that are known.
--
-- KEYS: 1-5 the job, then those of large arguments.
-- ARGV: 1 time to live while open (ms), 2 number of fields F, then F pairs of
-- field and value (state is "open" or "sealed"; inline is "1" or absent), then
-- pairs of chunk number and framed arguments, or references to large ones. The field
-- within (ms) is how soon the job must begin.
-- Reply: 1 created; 0 the ID exists already, and nothing was changed.

local fields = tonumber(ARGV[2])
local first = 3 + 2 * fields
local frames = #KEYS > 5 and large() -- the keys of large arguments come after the others
if redis.call('EXISTS', KEYS[1]) == 1 then
  for i = first + 1, frames and #ARGV or 0, 2 do
    frames.spurn(ARGV[i])
  end
  return 0
end
for i = first + 1, frames and #ARGV or 0, 2 do
  local problem = frames.absent(ARGV[i])
  if problem then
    return problem
  end
end
-- What Redis has kept of an earlier job of this ID, whose hash it has lost, is not ours.
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
redis.call('HSET', KEYS[1], 'created', now_ms(), 'recorded', 0, 'done', 0, 'failed', 0, unpack(ARGV, 3, first - 1))
local j = redis.call('HMGET', KEYS[1], 'state', 'inline', 'chunks', 'ttl', 'within')
for i = first, #ARGV, 2 do
  local ak, af = places(j[2], ARGV[i])
  redis.call('HSET', ak, af, ARGV[i + 1])
  if frames then
    frames.adopt(ARGV[i + 1], 'args', ARGV[1])
  end
end
if j[5] then
  redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', now_ms() + j[5]))
end
if j[1] == 'sealed' and tonumber(j[3]) == 0 then
  finish('done', j[4])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  if not j[2] then
    redis.call('PEXPIRE', KEYS[2], ARGV[1])
  end
end
return 1
