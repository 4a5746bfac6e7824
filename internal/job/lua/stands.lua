-- stands: how chunks of a job stand, for people.
--
-- KEYS: see script.go.
-- ARGV: 1 lane, 2 the job's name, then chunks.
-- Reply: a letter for each chunk: see overview.go.

local key = 'distpool:{' .. ARGV[1] .. '}:job:' .. ARGV[2]
local letters = {}
for i = 3, #ARGV do
  local letter = 'd'
  if redis.call('HEXISTS', key, 'own:' .. ARGV[i]) == 1 then
    letter = 'r'
  elseif redis.call('HEXISTS', key, 'args:' .. ARGV[i]) == 1 then
    letter = 'w'
  elseif redis.call('HEXISTS', key, 'kept:' .. ARGV[i]) == 1 then
    letter = 'f'
  end
  letters[i - 2] = letter
end
return table.concat(letters)
