// Package lanes spreads queues over a Cluster.
//
// A queue that spans a Cluster has several lanes: asynq queues whose names are chosen so that their
// slots divide the slot space evenly. Lane 0 has the queue's own name. The names follow from the
// queue's name and the number of lanes alone, and a number that divides another one has its lanes
// among the lanes of the other.
package lanes

import (
	"hash/crc32"
	"strconv"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// tolerance is how far the slot of a lane may be from its even share. A name is found
// after 16384/(2*128+1) = 64 tries on average.
const tolerance = 128

// Most is the largest number of lanes: their tolerances must not overlap.
const Most = slots / (4 * tolerance)

// Names returns the names of the lanes of a queue: n of them, from 1 to Most.
func Names(queue string, n int) []string {
	n = max(1, n)
	lanes := make([]string, 1, n)
	lanes[0] = queue
	home := Slot(queue)
	for i := 1; i < n; i++ {
		lanes = append(lanes, near(queue, (home+i*slots/n)%slots))
	}
	return lanes
}

// near is the first name whose slot is near the given one.
func near(queue string, slot int) string {
	for i := 1; ; i++ {
		name := queue + "~" + strconv.Itoa(i)
		away := (Slot(name) - slot + slots) % slots
		if min(away, slots-away) <= tolerance {
			return name
		}
	}
}

// Of is the lane of a job, by its name.
func Of(lanes []string, name string) string {
	return lanes[crc32.ChecksumIEEE([]byte(name))%uint32(len(lanes))]
}

// Slot is the hash slot of a key with the given hash tag: its CRC-16 (XMODEM), as the
// Cluster's specification has it.
func Slot(tag string) int {
	var crc uint16
	for i := range len(tag) {
		crc ^= uint16(tag[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slots
}
