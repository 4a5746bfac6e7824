-- submit: creates jobs, adds chunks to open ones, and hands their deliveries to asynq.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the command that publishes, 3 how many entries, then for each entry:
--   what       the state of the job after this entry, "sealed" or "open", with "new " before it
--              if the entry creates the job; otherwise it adds chunks to an open one
--   name, gen
--   life       how long the record lives while the job is not over, ms; "0" leaves that as it is
--   within     new: it is canceled unless a chunk begins within this time, ms; "0": no limit
--   calls, chunks   the totals of the job after this entry
--   fields     new: how many pairs of field and value come first
--   n          how many chunks come then, each as: its field "args:K", framed arguments, asynq's
--              task ID, asynq's message, and when it is due (Unix, s; "" is now). Without a task
--              ID the chunk gets no delivery here
-- Reply, for each entry: "sealed", "open" or, without any chunk that has no outcome, "done",
-- where the job was created or grew. Otherwise nothing is changed: "exists", the name of a new
-- job is taken; "sealed", "done" or "canceled", the job has all its chunks; "gone"; "gap", the
-- chunks before these are not there yet; "unstored", a large frame among the arguments is not
-- there; "damaged", the job's record. Sent twice, an entry changes nothing.

local q, prefix = 'asynq:{' .. ARGV[1] .. '}:', 'distpool:{' .. ARGV[1] .. '}:'
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local now_ms = string.format('%.0f', now) -- Lua is slow when it has to make a number a string
local now_ns = t[1] .. string.format('%06d', t[2]) .. '000'
local replies, pending = {}, {}
local i = 4

local function number_of(field)
  return tonumber(string.sub(field, 6))
end

for e = 1, tonumber(ARGV[3]) do
  local what, name, gen, life = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = prefix .. 'job:' .. name
  local chunks = i + 9 + 2 * ARGV[i + 7]
  local after = chunks + 5 * ARGV[i + 8]
  local new = string.match(what, '^new (.*)')
  local answer, known, grows = new or what, 0, true
  local j = {}
  if new then
    if redis.call('EXISTS', key) == 1 then
      answer, grows = 'exists', false
    end
  else
    j = redis.pcall('HMGET', key, 'reply', 'gen', 'state', 'chunks', 'recorded', 'ttl', 'done', 'failed', 'frames')
    known = not j.err and tonumber(j[4] or '1')
    if j.err or not known then
      answer, grows = 'damaged', false
    elseif not j[1] or (j[2] or '') ~= gen then
      answer, grows = 'gone', false
    elseif j[3] ~= 'open' then
      answer, grows = j[3] or 'sealed', false
      if answer == 'sealed' and life ~= '0' then -- a stream whose last calls run
        live(prefix, name, life, known)
        if j[9] then
          frames_renew(prefix, name, j[9], life, now)
        end
      end
    elseif after > chunks and number_of(ARGV[chunks]) > known then
      answer, grows = 'gap', false
    end
  end

  local large
  for c = chunks, grows and after - 1 or 0, 5 do
    if frame_is(ARGV[c + 1]) and number_of(ARGV[c]) >= known then
      large = large or {}
      large[c] = ARGV[c + 1]
      if not frame_there(prefix, name, large[c]) then
        answer, grows = 'unstored', false
      end
    end
  end

  if grows then
    if new then -- its first chunk's arguments go along
      redis.call('HSET', key, 'created', now_ms, unpack(ARGV, i + 9, math.min(chunks + 1, after - 1)))
      if gen ~= '' then
        redis.call('HSET', key, 'gen', gen)
      end
      if ARGV[i + 4] ~= '0' then
        redis.call('HSET', key, 'expires', string.format('%.0f', now + ARGV[i + 4]))
      end
    else
      if tonumber(ARGV[i + 6]) > known then
        redis.call('HSET', key, 'calls', ARGV[i + 5], 'chunks', ARGV[i + 6])
      end
      if answer == 'sealed' then
        redis.call('HDEL', key, 'state')
      end
    end
    local total = math.max(known, tonumber(ARGV[i + 6]))
    if known <= many and total > many then
      redis.call('SADD', prefix .. 'large', name)
      live(prefix, name, redis.call('PTTL', key), total)
    end
    if life ~= '0' then
      live(prefix, name, life, total)
      if j[9] then
        frames_renew(prefix, name, j[9], life, now)
      end
    end
    for c = chunks, after - 1, 5 do
      if new or number_of(ARGV[c]) >= known then
        local id, at = ARGV[c + 2], ARGV[c + 4]
        if not new or c > chunks then
          redis.call('HSET', key, ARGV[c], ARGV[c + 1])
        end
        if large and large[c] then
          frame_adopt(prefix, name, large[c], redis.call('PTTL', key), now)
        end
        if id == '' then
          -- its delivery comes later
        elseif at ~= '' then
          asynq_schedule(q, id, ARGV[c + 3], at)
        else
          asynq_enqueue(q, id, ARGV[c + 3], now_ns)
          pending[#pending + 1] = id
        end
      end
    end
    if answer == 'sealed' and tonumber(j[5] or '0') == total then
      answer = 'done' -- its last chunk was recorded before this
      redis.call('HSET', key, 'state', answer, 'finished', now_ms)
      j[6] = j[6] or redis.call('HGET', key, 'ttl')
      live(prefix, name, lifetime(j[6]), total)
      if j[9] then
        frames_expire(prefix, name, lifetime(j[6]), now)
      end
      if not new then
        tell(ARGV[2], prefix .. 'reply:' .. j[1], name .. ' ' .. gen .. ' end -1 ' .. (j[5] or 0) .. ' ' .. (j[7] or 0) .. ' '
          .. (j[8] or 0) .. ' 0 done 0\n\n')
      end
    end
  end
  replies[e] = answer
  i = after
end
asynq_push(q, pending)
return replies
