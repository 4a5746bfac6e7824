-- checkpoint: a worker saves what its running chunks have so far.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 worker, 3 the command that publishes, then for each chunk: the job's name,
-- gen, chunk, what it has ("" saves nothing), the number of calls that finishes.
-- Reply, for each chunk: the state of the job ("sealed", "open", "canceled", "done"), "gone",
-- "damaged", or "lost" when the chunk is not this worker's; then nothing is saved.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local replies = {}
for i = 4, #ARGV, 5 do
  local name, gen, chunk = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local key = prefix .. 'job:' .. name
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'own:' .. chunk, 'counted:' .. chunk, 'recorded', 'failed', 'running', 'chunks')
  local answer = j[3] or 'sealed'
  if j.err or not (tonumber(j[5] or 0) and tonumber(ARGV[i + 4])) then
    answer = 'damaged'
  elseif not j[1] or (j[2] or '') ~= gen then
    answer = 'gone'
  elseif answer == 'sealed' or answer == 'open' then
    if not j[4] or string.match(j[4], '^%S+') ~= ARGV[2] then
      answer = 'lost'
    elseif ARGV[i + 3] ~= '' then
      redis.call('HSET', key, 'part:' .. chunk, ARGV[i + 3], 'counted:' .. chunk, ARGV[i + 4])
      local more, done = ARGV[i + 4] - (j[5] or 0), ARGV[i + 4]
      if j[9] then
        done = redis.call('HINCRBY', key, 'done', more)
      end
      if more ~= 0 then
        redis.pcall(ARGV[3], prefix .. 'reply:' .. j[1], name .. ' ' .. gen .. ' part ' .. chunk .. ' ' .. (j[6] or 0) .. ' ' .. done .. ' '
          .. (j[7] or 0) .. ' ' .. (j[8] or 1) .. ' ' .. answer .. ' 0\n\n')
      end
    end
  end
  replies[#replies + 1] = answer
end
return replies
