// Package job is the record of every job in Redis, and the only code that changes it. What people
// alone look at is read by package inspect.
//
// # One job, one hash
//
// A job lives with its queue: its hash carries the hash tag that asynq gives to the
// queue, so the job, its deliveries in asynq's lists and whatever waits for it share one
// slot of a Cluster. Every transition, asynq's half included, is one script, on every
// topology.
//
// These are the fields of the hash. A field that is absent has its default, in every
// job alike.
//
//	about      the description: version, task, codec, policy and so on; no script looks into it
//	reply      the pool that is told of outcomes
//	gen        tells jobs apart that had the same chosen name, one after the other; default ""
//	state      open, done or canceled; default: every chunk is known and some have no outcome
//	calls      the number of calls that are known so far; default 1
//	chunks     the number of chunks that are known so far; default 1
//	ttl        how long the record lives once the job is over, ms; default an hour
//	created    ms, by the clock of Redis
//	expires    the job is canceled unless a chunk begins before this, ms; default: no limit
//	recorded   chunks with outcomes; with done and failed not kept in a job of one chunk
//	done       calls with outcomes, in checkpoints too
//	failed     calls that failed; default 0
//	running    chunks that workers hold; not kept in a job of one chunk
//	finished   when the job was over, ms
//	begun      when the only chunk of a job began, ms; while it runs, its owner says so
//	reason     why it was canceled
//	deaths     workers that died in chunks of the job; default 0
//	slow       the slowest calls, one of a chunk at the most: lines "MS CALL WORKER"
//	kept       bytes of arguments that are kept of failed calls; default 0
//	consumed   chunks that a stream has consumed the outcomes of; default 0
//	frames     large frames of the job live until this time at least, ms; default: it has none
//
// And for each chunk K:
//
//	args:K     its framed arguments, until it has outcomes
//	out:K      its framed outcomes, until they are consumed
//	own:K      the worker that runs it, since when, and by which delivery: "WORKER MS NUMBER"
//	lost:K     the number of workers that died in it; default 0
//	part:K     what a checkpoint saved of it
//	counted:K  how many calls of it are in done already; default 0
//	kept:K     the arguments of a chunk with failed calls; empty where there is no room for them
//	order:N    the chunk that was recorded as number N, from 0; not kept in a job of one chunk
//
// A chunk without args:K and own:K has its outcomes. If it has no out:K either and they
// were not consumed, the record is damaged: Take says so, and its caller cancels the job.
//
// # Three scripts carry the load
//
// Submit creates jobs and puts their deliveries into asynq's pending list. Take moves
// deliveries to active and makes the worker the owner of their chunks. Finish records
// outcomes, or gives chunks back, and takes the deliveries off active. Each takes many
// entries in one round trip; entries are independent of each other, and the first
// recording of a chunk wins. Sent twice, Submit and Finish change nothing the second time, as
// long as the record is there.
package job
