-- Shared by all transitions; prepended to each script when it is loaded.
--
-- KEYS of every script: 1 job (hash), 2 args (hash), 3 out (hash), 4 order
-- (list), 5 run (hash). All carry the job's hash tag, so they share a slot.
--
-- A job of a single chunk that is known when it is created is "inline": it
-- keeps everything in the job hash, under the fields args, out and run. That
-- saves four keys on the commonest job, one call.

-- A number: neither Redis nor Lua writes one of this size with an exponent.
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The address of the job. One that submit has made has no field id: it is in the key.
local function address(id)
  if id then
    return id
  end
  local queue, name = string.match(KEYS[1], '^distpool:{(.*)}:job:(.*)$')
  return queue .. '/' .. name
end

-- A field of which submit leaves out what is as usual: see short.go.
local function or_usual(inline, value, usual)
  if value or inline ~= '1' then
    return value
  end
  return usual
end

-- The field big. A job without a version is a short one, whose maker reads what is
-- large; makers that do not wrote the version, and not this field.
local function reads_large(inline, big, version)
  if big or inline ~= '1' or version then
    return big or ''
  end
  return '1'
end

-- Whether the job is not the one that the caller means. An ID that the caller
-- chose can be used again once its job is forgotten, and what was still under way
-- of that one must not touch the new one. Other jobs have no generation.
local function another(gen, meant)
  return (gen or '') ~= meant
end

-- Where chunk's arguments, outcomes and run state live.
local function places(inline, chunk)
  if inline == '1' then
    return KEYS[1], 'args', KEYS[1], 'out', KEYS[1], 'run'
  end
  return KEYS[2], chunk, KEYS[3], chunk, KEYS[5], chunk
end

-- A large frame is not in these hashes but in keys of its own, one for each piece of
-- 512 KiB, which plain commands write and read: Lua is slow with it (see large.go). In
-- its place is a reference, "@ <token> <bytes>". The job hash has a field "blob:<token>"
-- for its first piece, and "blob:<token>:<i>" for the piece i, which says
-- what it is: "args", "part" (a checkpoint), "out", or "kept", the arguments of failed
-- calls; and from the first one on the field blobs, until when all of them live at least
-- (ms). They outlive the job by a moment, for those who have read a reference.
--
-- Most scripts meet none, and do not pay for these functions: large() makes them.
local function large()
  local self, slack = {}, 10000

  -- The names of the pieces of a large frame, and its size; nil if frame is no
  -- reference. A name is the field, and ends the key.
  function self.find(frame)
    local token, size = string.match(frame or '', '^@ (%w+) (%d+)$')
    if token then
      size = tonumber(size)
      local names = {'blob:' .. token}
      for i = 1, math.min(math.ceil(size / 524288), 2048) - 1 do
        names[i + 1] = names[1] .. ':' .. i
      end
      return names, size
    end
  end

  -- The key of a piece.
  function self.key(piece)
    return KEYS[1] .. ':' .. piece
  end

  -- What a script answers that was sent a reference to nothing, before it changes
  -- anything; nil if all is well.
  function self.absent(frame)
    for _, piece in ipairs(self.find(frame) or {}) do
      if redis.call('EXISTS', self.key(piece)) == 0 then
        return redis.error_reply('LARGEGONE a large value was not stored, or not for long enough')
      end
    end
  end

  -- Makes a large frame the job's, which lives for ms.
  function self.adopt(frame, what, ms)
    local pieces = self.find(frame)
    if not pieces then
      return
    end
    ms = tonumber(ms)
    if ms <= 0 then
      ms = 3600000 -- the record is damaged: see expire
    end
    if not redis.call('HGET', KEYS[1], 'blobs') then
      redis.call('HSET', KEYS[1], 'blobs', string.format('%.0f', now_ms() + ms))
    end
    for _, piece in ipairs(pieces) do
      redis.call('HSET', KEYS[1], piece, what)
      redis.call('PEXPIRE', self.key(piece), ms + slack)
    end
  end

  -- Says what a large frame of the job is from now on.
  function self.rename(frame, what)
    for _, piece in ipairs(self.find(frame) or {}) do
      redis.call('HSET', KEYS[1], piece, what)
    end
  end

  -- Removes a large frame. One that a moving slot has taken elsewhere goes by itself.
  function self.drop(frame)
    for _, piece in ipairs(self.find(frame) or {}) do
      redis.call('HDEL', KEYS[1], piece)
      redis.pcall('DEL', self.key(piece))
    end
  end

  -- Removes a large frame that was sent and is not wanted, unless it is the job's
  -- already: then it was sent twice.
  function self.spurn(frame)
    for _, piece in ipairs(self.find(frame) or {}) do
      if not redis.call('HGET', KEYS[1], piece) then
        redis.call('DEL', self.key(piece))
      end
    end
  end

  -- A field that may hold a reference, without reading what is none.
  function self.reference(key, field)
    if redis.call('HSTRLEN', key, field) <= 64 then
      return redis.call('HGET', key, field) or nil
    end
  end

  -- Calls f with key and field of each piece of the large frames of the job.
  function self.each(f)
    for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
      if string.match(field, '^blob:%w+$') or string.match(field, '^blob:%w+:%d+$') then
        f(self.key(field), field)
      end
    end
  end

  -- The large frames of the job live for ms from now on, as it does. By and by: if they
  -- live for three quarters of that, it is left at that. A stream is given more time
  -- with each of its steps, and would pay for all of them with each.
  function self.expire(ms, by_and_by)
    local till = redis.call('HGET', KEYS[1], 'blobs')
    if not till or (by_and_by and (tonumber(till) or 0) >= now_ms() + ms * 3 / 4) then
      return
    end
    self.each(function(key)
      redis.pcall('PEXPIRE', key, ms + slack)
    end)
    redis.call('HSET', KEYS[1], 'blobs', string.format('%.0f', now_ms() + ms))
  end

  return self
end

-- Finds out whether a live job can still end. Its fields, and the hash of the arguments,
-- change together, in one script each time: a chunk has arguments until it is recorded.
-- Returns nil; or an error that says that Redis has lost something ("missing"), or that
-- the record contradicts itself ("corrupt"). A key of a wrong type is Redis's own error.
local function damage(state, inline, chunks, recorded)
  local n, k = tonumber(chunks), tonumber(recorded)
  local kept = inline == '1' and redis.call('HEXISTS', KEYS[1], 'args') or redis.call('HLEN', KEYS[2])
  if inline == '1' then
    n, k = 1, 0
  elseif kept ~= (n or 0) - (k or 0) then
    -- A recording may have failed half way, since it could not store the outcomes.
    redis.call('HLEN', KEYS[3])
    redis.call('LRANGE', KEYS[4], 0, 0)
  end
  local what
  if state ~= 'open' and state ~= 'sealed' or inline == '1' and state == 'open' then
    what = 'corrupt: field state is "' .. state .. '"'
  elseif not n or not k then
    what = 'corrupt: fields chunks and recorded are "' .. tostring(chunks) .. '" and "' .. tostring(recorded) .. '", not counts'
  elseif kept == n - k and (kept > 0 or state == 'open') then
    return nil
  elseif kept == 0 and n > k and inline ~= '1' then
    what = 'missing: the arguments of ' .. (n - k) .. ' chunks without outcomes are not there; does Redis evict keys (maxmemory-policy)?'
  else
    what = 'corrupt: there are arguments of ' .. kept .. ' chunks, and outcomes of ' .. k .. ', of ' .. n .. ' in all'
  end
  return redis.error_reply('DAMAGED ' .. what)
end

-- A key of the job that may be new lives for as long as the job.
local function live_along(key)
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 then
    redis.call('PEXPIRE', key, left)
  end
end

-- Saves the partial outcomes of a chunk in place of earlier ones. Returns an error, with
-- nothing changed, if large ones are not there.
local function save_part(rk, rf, part)
  local frames = large()
  local problem = frames.absent(part)
  if problem then
    return problem
  end
  local before = frames.reference(rk, rf .. ':part')
  redis.call('HSET', rk, rf .. ':part', part)
  frames.adopt(part, 'part', redis.call('PTTL', KEYS[1]))
  if before ~= part then -- otherwise it was sent twice
    frames.drop(before)
  end
end

-- Removes large partial outcomes that are not wanted.
local function spurn_part(part)
  if string.byte(part, 1, 1) == 64 then
    large().spurn(part)
  end
end

-- Counts the chunks that workers hold: by more of them from now on. Returns how
-- many that are. A job that is inline does not count: it has one chunk, and
-- whether that has an owner is in the same hash.
local function hold(inline, by)
  if inline == '1' then
    return 0
  end
  return redis.call('HINCRBY', KEYS[1], 'running', by)
end

-- A time to live (ms) that PEXPIRE takes: an hour, as usual, where there is none, and where
-- the record is damaged, whose job must end all the same.
local function lifetime(ms)
  ms = math.floor(tonumber(ms) or 0)
  if ms > 0 and ms < 1e15 then
    return ms
  end
  return 3600000
end

-- Every key of the job lives for ms milliseconds from now. by_and_by: see large.
local function expire(ms, by_and_by)
  ms = lifetime(ms)
  for i = 1, 5 do
    redis.call('PEXPIRE', KEYS[i], ms)
  end
  if redis.call('HGET', KEYS[1], 'blobs') then
    large().expire(ms, by_and_by)
  end
end

-- Ends the job: no chunk is run or recorded after this.
local function finish(state, ttl)
  redis.call('HSET', KEYS[1], 'state', state, 'finished', now_ms())
  expire(ttl)
end

-- What is kept of the arguments of failed calls, per job (bytes).
local most_kept = 67108864

-- A chunk with failed calls keeps its arguments, for people who look and for those
-- who want the calls to run again: in the field <chunk>:failed, which is empty
-- when there was no room for them.
local function keep(rk, rf, args)
  local frames = large()
  local pieces, size = frames.find(args)
  size = size or #args
  if redis.call('HINCRBY', KEYS[1], 'kept', size) > most_kept then
    redis.call('HINCRBY', KEYS[1], 'kept', 0 - size)
    frames.drop(args)
    args = ''
  elseif pieces then
    frames.rename(args, 'kept')
  end
  redis.call('HSET', rk, rf .. ':failed', args)
  local left = redis.call('PTTL', KEYS[1])
  if left > 0 and rk ~= KEYS[1] then
    redis.call('PEXPIRE', rk, left)
  end
end

-- Notes the slowest calls of the job, one for each chunk: "<ms> <call> <worker>"
-- each, in lines, slowest first. Most chunks are not among them, which the last
-- line tells.
local function note_slow(was, ms, who)
  local lines, most = {}, 10
  ms = tonumber(ms)
  for line in string.gmatch(was or '', '[^\n]+') do
    lines[#lines + 1] = line
  end
  if #lines >= most and ms <= tonumber(string.match(lines[#lines], '^%d+') or '0') then
    return
  end
  local at = #lines + 1
  for i = 1, #lines do
    if ms > tonumber(string.match(lines[i], '^%d+') or '0') then
      at = i
      break
    end
  end
  table.insert(lines, at, ms .. ' ' .. who)
  lines[most + 1] = nil
  redis.call('HSET', KEYS[1], 'slow', table.concat(lines, '\n'))
end

local notify

-- Ends a live job before its time. shown is the state that is announced.
local function abort(reason, shown)
  local j = redis.call('HMGET', KEYS[1], 'ttl', 'reply', 'id', 'recorded', 'done', 'failed')
  redis.call('HDEL', KEYS[1], 'args', 'run', 'running', 'expires')
  redis.call('HSET', KEYS[1], 'reason', reason)
  if redis.call('HGET', KEYS[1], 'blobs') then
    large().each(function(key, field)
      local what = redis.call('HGET', KEYS[1], field)
      if what == 'args' or what == 'part' then
        redis.call('HDEL', KEYS[1], field)
        redis.pcall('UNLINK', key)
      end
    end)
  end
  redis.call('UNLINK', KEYS[2])
  if (j[6] or '0') == '0' then
    redis.call('UNLINK', KEYS[5])
  end
  finish('canceled', j[1])
  notify(j[2], j[3], 'end', '-1', j[4], j[5], j[6], shown, '')
end

-- expires is there while no chunk has begun of a job that must begin in time
-- (ms). Returns the time left; a job that is late is ended here.
local function time_left(expires)
  local left = tonumber(expires) - now_ms()
  if left > 0 then
    return left
  end
  abort('unstarted', 'unstarted')
  return 0
end

-- Tells the producer. A notice is a hint: whoever misses it finds the same in
-- the record. Form: "<id> <what> <chunk> <recorded> <done> <failed> <running>
-- <state>\n" and, for what = "out", the outcome. Without running it is 0.
function notify(reply, id, what, chunk, recorded, done, failed, state, outcome, running)
  if reply and reply ~= '' then
    -- A user of Redis who may not publish still gets the outcomes: by polling.
    redis.pcall('PUBLISH', reply, address(id) .. ' ' .. what .. ' ' .. chunk .. ' ' .. (recorded or 0) .. ' '
      .. (done or 0) .. ' ' .. (failed or 0) .. ' ' .. (running or 0) .. ' ' .. state .. '\n' .. outcome)
  end
end
