// Package fleet is the registry of workers, and the only code that reads or changes its
// keys.
//
// A worker is a [Member]: it registers with [Member.Join], and [Member.Run] sends its
// heartbeats until it leaves. Each heartbeat gives it [Lifetime] to live, by the clock of Redis.
// Of all members one leads the supervision, see [Member.Lead].
//
// All other programs read: [Workers] lists the live workers with their queues and tasks,
// [LiveWorkers] adds what each of them has done of late, [Alive] asks for one. A [View] reads
// at most once a second, for a pool. [Ask] asks a worker whether it still runs some chunks; it
// reads its questions with its heartbeats.
//
// All keys share one hash tag, so the registry is read with one MGET and a worker is
// registered in one round trip:
//
//	distpool:@{workers}             index (sorted set): worker by the time at which it is forgotten, ms
//	distpool:@{workers}:w:ID        the description of a worker (JSON); it is alive while it has one
//	distpool:@{workers}:stats:ID    how the worker is doing (JSON)
//	distpool:@{workers}:ask:ID      questions to the worker (list of JSON)
//	distpool:@{workers}:leader      the worker whose supervisor leads
package fleet
