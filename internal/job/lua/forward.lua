-- forward: deliveries that were delayed, or put off, become pending.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 a time (Unix, s): deliveries that are due by then, 3 how many of each kind at
-- the most, without those whose task IDs follow.
-- Reply: how many became pending.

local q = 'asynq:{' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now_ns = t[1] .. string.format('%06d', t[2]) .. '000'
local moved, by = 0, tonumber(ARGV[2])
for i = 4, #ARGV do
  moved = moved + (asynq_forward(q, ARGV[i], now_ns, by) and 1 or 0)
end
if ARGV[3] ~= '0' then
  for _, set in ipairs({'scheduled', 'retry'}) do
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', q .. set, '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])) do
      moved = moved + (asynq_forward(q, id, now_ns, by) and 1 or 0)
    end
  end
end
return moved
