-- The record of a job lives for ms from now on. Redis frees a record that expires at once, and does
-- nothing else meanwhile: 0.4 us a field. So submit notes jobs of more chunks than this in a set; a
-- supervisor has their records freed in the background when their time is over (drop.lua), and
-- Redis would do so itself a minute later.
local many, later = 10000, 60000

local function live(prefix, name, ms, chunks)
  if (tonumber(chunks or 1) or 1) <= many then
    redis.call('PEXPIRE', prefix .. 'job:' .. name, ms)
    return
  end
  local large = prefix .. 'large'
  ms = string.format('%.0f', ms + later)
  redis.call('PEXPIRE', prefix .. 'job:' .. name, ms)
  if redis.call('PTTL', large) < tonumber(ms) then
    redis.call('PEXPIRE', large, ms)
  end
end
