package asynqfmt

import (
	"embed"
	"strings"
)

//go:embed lua/*.lua
var moves embed.FS

// Lua returns the functions of the named files as the head of a script. Each of them is a half of a
// transition: the script that includes it decides, and changes the job. Their first argument q is
// Prefix(queue). Lua panics when it does not know a name.
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
