-- cancel: ends jobs that are not over. Their chunks without outcomes never get some.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the command that publishes, then for each job: name, gen ("*": whatever it
-- is), reason, and "late" if it is canceled only where its time to begin is over, else "".
-- Reply, for each job: "canceled" (now or before), "done" (too late), "gone", "damaged" (its
-- record is not a job's: forget removes it); and with
-- "late", where it has begun or has time left, "sealed" or "open".

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local replies = {}
for i = 3, #ARGV, 4 do
  local name, gen = ARGV[i], ARGV[i + 1]
  local key = prefix .. 'job:' .. name
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'ttl', 'recorded', 'done', 'failed', 'frames', 'state', 'expires')
  local answer = j[8] or 'sealed'
  if j.err then
    answer = 'damaged'
  elseif not j[1] or (gen ~= '*' and gen ~= (j[2] or '')) then
    answer = 'gone'
  elseif answer == 'open' or answer == 'sealed' then
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    if ARGV[i + 3] ~= 'late' or j[9] and counts(j[9]) and tonumber(j[9]) <= now then
      end_job(prefix, name, j, ARGV[i + 2], ARGV[2])
      answer = 'canceled'
    end
  end
  replies[#replies + 1] = answer
end
return replies
