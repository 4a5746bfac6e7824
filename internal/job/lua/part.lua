-- Saves what a chunk has so far in place of what it had. frames is the job's field. Answers
-- false, and changes nothing, where part is the reference to a large frame that is not there.
local function save_part(prefix, key, name, chunk, part, frames, now)
  local large = frame_is(part)
  if large and not frame_there(prefix, name, part) then
    return false
  end
  local before = frames and redis.call('HGET', key, 'part:' .. chunk)
  redis.call('HSET', key, 'part:' .. chunk, part)
  if large then
    frame_adopt(prefix, name, part, redis.call('PTTL', key), now)
  end
  if before ~= part then
    frame_drop(prefix, name, before)
  end
  return true
end
