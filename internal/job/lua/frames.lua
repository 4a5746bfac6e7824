-- A large frame is not in the job's hash but in a key of its own, since Lua is slow with
-- long strings. In its place is a reference, "@ TOKEN BYTES". The set frames:NAME has the
-- tokens of a job, and the field frames says that there are some.
--
-- A frame lives 10 s longer than its job, for readers of a reference.

local function frame_token(frame)
  return string.byte(frame, 1) == 64 and string.match(frame, '^@ (%w+) %d+$')
end

-- Makes a frame the job's, which lives for ms. Answers false if it is not there.
local function frame_adopt(prefix, name, token, ms)
  if redis.call('PEXPIRE', prefix .. 'frame:' .. name .. ':' .. token, ms + 10000) == 0 then
    return false
  end
  redis.call('SADD', prefix .. 'frames:' .. name, token)
  redis.call('PEXPIRE', prefix .. 'frames:' .. name, ms + 10000)
  redis.call('HSET', prefix .. 'job:' .. name, 'frames', 1)
  return true
end

local function frame_drop(prefix, name, token)
  redis.call('SREM', prefix .. 'frames:' .. name, token)
  redis.call('UNLINK', prefix .. 'frame:' .. name .. ':' .. token)
end

-- All frames of the job live for ms from now on.
local function frames_expire(prefix, name, ms)
  for _, token in ipairs(redis.call('SMEMBERS', prefix .. 'frames:' .. name)) do
    redis.call('PEXPIRE', prefix .. 'frame:' .. name .. ':' .. token, ms + 10000)
  end
  redis.call('PEXPIRE', prefix .. 'frames:' .. name, ms + 10000)
end
