-- cancel: ends jobs that are not over. Their chunks without outcomes never get some. It tells their
-- pools and the workers, and may remove every trace of jobs but their deliveries.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the command that publishes, then for each job: name, gen ("*": whatever it
-- is), reason, and "late" if it is canceled only where its time to begin is over, "forget" if it
-- is removed, else "".
-- Reply, for each job: "canceled" (now or before), "done" (too late), "gone", "damaged" (its
-- record is not a job's; with "forget" it is removed); with "late", where it has begun or has time
-- left, "sealed" or "open"; with "forget" the state that it was in.

local prefix = 'distpool:{' .. ARGV[1] .. '}:'
local replies = {}
for i = 3, #ARGV, 4 do
  local name, gen, reason, how = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = prefix .. 'job:' .. name
  local j = redis.pcall('HMGET', key, 'reply', 'gen', 'ttl', 'recorded', 'done', 'failed', 'frames', 'state', 'expires', 'chunks')
  local answer = j[8] or 'sealed'
  if j.err then
    answer = 'damaged'
  elseif not j[1] or (gen ~= '*' and gen ~= (j[2] or '')) then
    answer = 'gone'
  elseif answer == 'open' or answer == 'sealed' then
    local t = redis.call('TIME')
    local now = t[1] * 1000 + math.floor(t[2] / 1000)
    if how ~= 'late' or j[9] and counts(j[9]) and tonumber(j[9]) <= now then
      local ttl, word, state = lifetime(j[3]), string.match(reason, '^%a+'), 'canceled'
      redis.call('HDEL', key, 'expires', 'running') -- its arguments go with the record; see drop.lua, too
      redis.call('HSET', key, 'state', state, 'reason', reason, 'finished', now)
      live(prefix, name, ttl, j[10])
      if (reason == word and (word == 'unstarted' or word == 'forgotten'))
        or (string.match(reason, '^%a+: ') and (word == 'untrusted' or word == 'missing' or word == 'corrupt')) then
        state = word
      end
      if j[7] then
        frames_expire(prefix, name, ttl, now)
      end
      tell(ARGV[2], prefix .. 'reply:' .. j[1], name .. ' ' .. (j[2] or '') .. ' end -1 ' .. (j[4] or 0) .. ' ' .. (j[5] or 0) .. ' '
        .. (j[6] or 0) .. ' 0 ' .. state .. ' 0\n\n')
      tell(ARGV[2], prefix .. 'control', name .. ' ' .. (j[2] or ''))
      answer = how == 'forget' and answer or 'canceled'
    end
  end
  if how == 'forget' and answer ~= 'gone' then
    for _, piece in ipairs(j[7] and redis.call('SMEMBERS', prefix .. 'frames:' .. name) or {}) do
      redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. piece)
    end
    redis.call('UNLINK', key, prefix .. 'frames:' .. name)
    redis.call('SREM', prefix .. 'large', name)
  end
  replies[#replies + 1] = answer
end
return replies
