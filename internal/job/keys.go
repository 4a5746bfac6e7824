package job

import "strings"

// Prefix is the prefix of all keys of a lane but asynq's. The scripts derive it, too.
func Prefix(lane string) string { return "distpool:{" + lane + "}:" }

// Key is the hash of one job.
func Key(lane, name string) string { return Prefix(lane) + "job:" + name }

// ReplyChannel is the channel on which a pool hears of its jobs in a lane.
func ReplyChannel(lane, pool string) string { return Prefix(lane) + "reply:" + pool }

// ControlChannel is the channel on which workers hear of jobs that ended before their
// time.
func ControlChannel(lane string) string { return Prefix(lane) + "control" }

// Publish is the command by which scripts publish.
const Publish = "PUBLISH"

// LaneOfReply is the lane that a reply channel belongs to.
func LaneOfReply(channel string) (lane string, ok bool) {
	lane, ok = strings.CutPrefix(channel, "distpool:{")
	lane, _, found := strings.Cut(lane, "}:reply:")
	return lane, ok && found
}
