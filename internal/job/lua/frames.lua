-- A large frame is not in the job's hash but in a key of its own, since Lua is slow with
-- long strings. In its place is a reference, "@ TOKEN BYTES". It travels in pieces, each in a
-- key of its own: frame:NAME:TOKEN, frame:NAME:TOKEN:1, ... The set frames:NAME has the pieces of
-- a job's frames, and the field frames says until which time they live at least (ms).
--
-- A frame lives 10 s longer than its job, for readers of a reference.

-- Whether a frame is a reference.
local function frame_is(frame)
  return string.byte(frame, 1) == 64 and string.match(frame, '^@ %w+ %d+$') ~= nil
end

-- The pieces of the frame that ref is a reference to: "TOKEN", "TOKEN:1", ... They are as
-- large as frames.go makes them.
local function frame_pieces(ref)
  local token, bytes = string.match(ref, '^@ (%w+) (%d+)$')
  local pieces = {token}
  for i = 1, math.min(math.ceil(bytes / 524224), 1024) - 1 do
    pieces[i + 1] = token .. ':' .. i
  end
  return pieces
end

local function frame_there(prefix, name, ref)
  for _, piece in ipairs(frame_pieces(ref)) do
    if redis.call('EXISTS', prefix .. 'frame:' .. name .. ':' .. piece) == 0 then
      return false
    end
  end
  return true
end

-- Makes a frame the job's, which lives for ms.
local function frame_adopt(prefix, name, ref, ms, now)
  for _, piece in ipairs(frame_pieces(ref)) do
    redis.call('PEXPIRE', prefix .. 'frame:' .. name .. ':' .. piece, ms + 10000)
    redis.call('SADD', prefix .. 'frames:' .. name, piece)
  end
  if redis.call('HSETNX', prefix .. 'job:' .. name, 'frames', string.format('%.0f', now + ms)) == 1 then
    redis.call('PEXPIRE', prefix .. 'frames:' .. name, ms + 10000)
  end
end

-- Removes a frame that was the job's, if it is a large one.
local function frame_drop(prefix, name, frame)
  for _, piece in ipairs(frame and frame_is(frame) and frame_pieces(frame) or {}) do
    redis.call('SREM', prefix .. 'frames:' .. name, piece)
    redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. piece)
  end
end

-- All frames of the job live for ms from now on.
local function frames_expire(prefix, name, ms, now)
  for _, token in ipairs(redis.call('SMEMBERS', prefix .. 'frames:' .. name)) do
    redis.call('PEXPIRE', prefix .. 'frame:' .. name .. ':' .. token, ms + 10000)
  end
  redis.call('PEXPIRE', prefix .. 'frames:' .. name, ms + 10000)
  redis.call('HSET', prefix .. 'job:' .. name, 'frames', string.format('%.0f', now + ms))
end

-- The job lives for ms from now on, again and again. Its frames follow by and by: if they
-- live for three quarters of that, it is left at that.
local function frames_renew(prefix, name, till, ms, now)
  if (tonumber(till) or 0) < now + ms * 3 / 4 then
    frames_expire(prefix, name, tonumber(ms), now)
  end
end
