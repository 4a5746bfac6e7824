-- Ends a job before its time, and tells its pool and the workers. j has its fields reply,
-- gen, ttl, recorded, done, failed, frames. Its arguments go with the record; see dropargs, too.
local function end_job(prefix, name, j, reason, publish)
  local key, ttl = prefix .. 'job:' .. name, lifetime(j[3])
  local t = redis.call('TIME')
  local now = t[1] * 1000 + math.floor(t[2] / 1000)
  redis.call('HDEL', key, 'expires', 'running')
  redis.call('HSET', key, 'state', 'canceled', 'reason', reason, 'finished', now)
  redis.call('PEXPIRE', key, ttl)
  local word, state = string.match(reason, '^%a+'), 'canceled'
  if (reason == word and (word == 'unstarted' or word == 'forgotten'))
    or (string.match(reason, '^%a+: ') and (word == 'untrusted' or word == 'missing' or word == 'corrupt')) then
    state = word
  end
  if j[7] then
    frames_expire(prefix, name, ttl, now)
  end
  tell(publish, prefix .. 'reply:' .. j[1], name .. ' ' .. (j[2] or '') .. ' end -1 ' .. (j[4] or 0) .. ' ' .. (j[5] or 0) .. ' '
    .. (j[6] or 0) .. ' 0 ' .. state .. ' 0\n\n')
  tell(publish, prefix .. 'control', name .. ' ' .. (j[2] or ''))
end
