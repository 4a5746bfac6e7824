package doctor

import "strings"

// TriedCommands are the commands that doctor tries, by user.
func TriedCommands() map[string][]string {
	return map[string][]string{"worker": strings.Fields(workerCommands), "producer": strings.Fields(producerCommands)}
}
