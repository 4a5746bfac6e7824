-- finish_inline: finish, of the chunk of a job that is known to be inline.
--
-- KEYS: 1 the job, 2-6 see ending.lua. ARGV and reply are those of finish.

local answer = recording()
if type(answer) == 'table' then
  return answer -- an error
end
end_delivery(2, ARGV[9], ARGV[10])
return answer
