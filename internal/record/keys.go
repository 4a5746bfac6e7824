package record

import "github.com/distpool/distpool/internal/names"

// Prefix starts every key and channel of distpool. asynq's own keys start with
// "asynq:".
const Prefix = "distpool:"

// Control is the channel on which jobs that ended before their time (canceled,
// forgotten) are announced to workers by ID.
const Control = Prefix + "control"

// Keys names the keys of the job at an address, in the order in which every script takes
// them. All carry the hash tag that asynq gives to the queue: a job lives in one slot of a
// Cluster, with its deliveries, and each transition is one script.
func Keys(id string) []string {
	a := names.SplitAddress(id)
	base := Prefix + "{" + a.Queue + "}:job:" + a.Name
	return []string{base, base + ":args", base + ":out", base + ":order", base + ":run"}
}

// ReplyChannel is the channel on which the pool with this ID hears of its jobs.
func ReplyChannel(pool string) string { return Prefix + "reply:" + pool }

// internal starts every key that is not a job's. A job's key has a brace in place of
// the @: so no name that a caller may choose leads to one of these keys, and a user of
// Redis can be given all jobs without the rest.
const internal = Prefix + "@"

// The keys of the doorbells share one hash tag: one BLPOP waits for the bells of all
// queues of a worker. A name that users choose, as part of a worker's ID or of a
// queue, is always behind a word that says what it names.
const (
	bellPrefix = internal + "{bell}:"
	listPrefix = internal + "{recent:"
)

// BellKey is the list into which a producer pushes after it enqueued to queue,
// and on which the queue's idle workers wait.
func BellKey(queue string) string { return bellPrefix + "q:" + queue }

// WakeKey is a bell that only the named worker listens to: it wakes itself with it when
// it must stop waiting, and others that have brought something back for it do.
func WakeKey(worker string) string { return bellPrefix + "w:" + worker }
