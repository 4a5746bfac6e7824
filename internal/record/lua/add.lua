-- add: more chunks for an open job. Adding a chunk twice changes nothing.
--
-- KEYS: 1-5 the job, then those of large arguments.
-- ARGV: 1 calls of the job after this, 2 chunks of the job after this, 3 "1" to
-- seal the job (no more chunks will come), 4 how long the job lives from now on
-- if it is not over (ms; "0" leaves that as it is), 5 the job's generation, then
-- pairs of chunk number and framed arguments, or references to large ones.
-- Reply: the job's state after this, or "gone".

local j = redis.call('HMGET', KEYS[1], 'state', 'chunks', 'recorded', 'ttl', 'reply', 'id', 'done', 'failed', 'gen')
local state = j[1]
local frames = #KEYS > 5 and large()
if not state or another(j[9], ARGV[5]) then
  for i = 7, frames and #ARGV or 0, 2 do
    frames.spurn(ARGV[i])
  end
  return 'gone'
end
if state ~= 'open' then
  for i = 7, frames and #ARGV or 0, 2 do
    frames.spurn(ARGV[i])
  end
  if state == 'sealed' and ARGV[4] ~= '0' then
    expire(ARGV[4], true)
  end
  return state
end
local known = tonumber(j[2])
for i = 6, frames and #ARGV or 0, 2 do
  local problem = tonumber(ARGV[i]) >= known and frames.absent(ARGV[i + 1])
  if problem then
    return problem
  end
end
local lives = ARGV[4]
if lives == '0' then
  lives = redis.call('PTTL', KEYS[1])
end
for i = 6, #ARGV, 2 do
  if tonumber(ARGV[i]) >= known then
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    if frames then
      frames.adopt(ARGV[i + 1], 'args', lives)
    end
  elseif frames then
    frames.spurn(ARGV[i + 1])
  end
end
if tonumber(ARGV[2]) > known then
  redis.call('HSET', KEYS[1], 'calls', ARGV[1], 'chunks', ARGV[2])
  known = tonumber(ARGV[2])
end
if ARGV[4] ~= '0' then
  expire(ARGV[4], true)
elseif lives > 0 then
  redis.call('PEXPIRE', KEYS[2], lives)
end
if ARGV[3] == '1' then
  state = 'sealed'
  redis.call('HSET', KEYS[1], 'state', state)
  if known == tonumber(j[3]) then
    state = 'done'
    finish(state, j[4])
    notify(j[5], j[6], 'end', '-1', j[3], j[7], j[8], state, '')
  end
end
return state
