package asynqfmt

import (
	"embed"
	"strings"
)

//go:embed lua/*.lua
var moves embed.FS

// Lua returns the named functions as the head of a script. Each of them is a half of a
// transition: the script that includes it decides, and changes the job. Their first
// argument q is Prefix(queue).
//
//	enqueue   asynq_enqueue(q, id, msg, now_ns)      a new task, not yet in a list
//	push      asynq_push(q, ids)                     into pending, at its end
//	schedule  asynq_schedule(q, id, msg, at)         a new task that is not due yet
//	forward   asynq_forward(q, id, now_ns, by)       from scheduled or retry to pending
//	pop       asynq_pop(q, n, lease)                 from pending to active
//	unpop     asynq_unpop(q, ids)                    back to the head of pending
//	retire    asynq_retire(q, id)                    off active
//	unlease   asynq_unlease(q, ids)                  the leases of tasks that are off active
//	return    asynq_return(q, id, where, msg)        off active, to pending or retry
//	archive   asynq_archive(q, id, msg, at)          off active, to archived
//	withdraw  asynq_withdraw(q, ids, head, from, n)  off pending, scheduled, retry and archived, and away
//	trim      asynq_trim(q, stay, since, most)       bounds archived
//	delete    asynq_delete(q, ids, day, expires)     off every list; needs count
//	count     asynq_count(q, what, n, day, expires)  "processed" or "failed"
//
// Lua panics when it does not know a name.
func Lua(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		text, err := moves.ReadFile("lua/" + name + ".lua")
		if err != nil {
			panic(err)
		}
		b.Write(text)
	}
	return b.String()
}
