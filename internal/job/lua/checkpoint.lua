-- checkpoint: a worker saves what its running chunks have so far.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 worker, 3 the command that publishes, then for each chunk: the job's name,
-- gen, chunk, the number of the delivery by which the worker runs it, what it has (or the
-- reference to a large frame; "" saves nothing), the number of calls that finishes.
-- Reply, for each chunk: the state of the job ("sealed", "open", "canceled", "done"), "gone",
-- "damaged", "unstored" (a large frame is not there), or "lost" when the chunk is another
-- worker's, or has its outcomes; then nothing is saved. A chunk that has lost its owner becomes
-- this worker's again when something is saved.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local replies = {}
for i = 4, #ARGV, 6 do
  local name, gen, chunk, part = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 4]
  local key = prefix .. 'job:' .. name
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'own:' .. chunk, 'counted:' .. chunk, 'recorded', 'failed', 'running', 'chunks',
    'frames', 'done')
  local answer = j[3] or 'sealed'
  if j.err or not (counts(j[5]) and counts(j[11])) then
    answer = 'damaged'
  elseif not j[1] or (j[2] or '') ~= gen then
    answer = 'gone'
  elseif answer == 'sealed' or answer == 'open' then
    local mine = j[4] and string.match(j[4], '^%S+') == ARGV[2]
    if not j[4] and redis.call('HEXISTS', key, 'args:' .. chunk) == 1 then
      mine = true
    end
    if mine and not j[4] and part ~= '' then
      redis.call('HSET', key, 'own:' .. chunk, ARGV[2] .. ' ' .. now .. ' ' .. ARGV[i + 3])
      if j[9] then
        redis.pcall('HINCRBY', key, 'running', 1) -- for people only
      end
    end
    if not mine then
      answer = 'lost'
    elseif part ~= '' and not save_part(prefix, key, name, chunk, part, j[10], now) then
      answer = 'unstored'
    elseif part ~= '' then
      redis.call('HSET', key, 'counted:' .. chunk, ARGV[i + 5])
      local more, done = ARGV[i + 5] - (j[5] or 0), ARGV[i + 5]
      if j[9] then
        done = redis.call('HINCRBY', key, 'done', more)
      end
      if more ~= 0 then
        tell(ARGV[3], prefix .. 'reply:' .. j[1], name .. ' ' .. gen .. ' part ' .. chunk .. ' ' .. (j[6] or 0) .. ' ' .. done .. ' '
          .. (j[7] or 0) .. ' ' .. (j[8] or 1) .. ' ' .. answer .. ' 0\n\n')
      end
    end
  end
  replies[#replies + 1] = answer
end
return replies
