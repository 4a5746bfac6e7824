-- A large frame is not in the job's hash but in a key of its own, since Lua is slow with
-- long strings. In its place is a reference, "@ TOKEN BYTES". The set frames:NAME has the
-- tokens of a job, and the field frames says until which time they live at least (ms).
--
-- A frame lives 10 s longer than its job, for readers of a reference.

local function frame_token(frame)
  return string.byte(frame, 1) == 64 and string.match(frame, '^@ (%w+) %d+$')
end

-- Makes a frame the job's, which lives for ms.
local function frame_adopt(prefix, name, token, ms, now)
  redis.call('PEXPIRE', prefix .. 'frame:' .. name .. ':' .. token, ms + 10000)
  redis.call('SADD', prefix .. 'frames:' .. name, token)
  if redis.call('HSETNX', prefix .. 'job:' .. name, 'frames', string.format('%.0f', now + ms)) == 1 then
    redis.call('PEXPIRE', prefix .. 'frames:' .. name, ms + 10000)
  end
end

local function frame_drop(prefix, name, token)
  redis.call('SREM', prefix .. 'frames:' .. name, token)
  redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. token)
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
