// Package version tells which version of distpool a program was built with.
package version

import (
	"runtime/debug"
	"strings"
	"sync"
)

const module = "github.com/distpool/distpool"

// Of is the version of distpool in this program: the module's, "(devel)" where
// it was built from a work tree, "" where the program does not know.
var Of = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return of(info)
})

func of(info *debug.BuildInfo) string {
	// The programs are in a module of their own, with the version of all.
	if info.Main.Path == module || strings.HasPrefix(info.Main.Path, module+"/") {
		return info.Main.Version
	}
	for _, d := range info.Deps {
		if d.Path == module {
			if d.Replace != nil {
				return d.Replace.Version
			}
			return d.Version
		}
	}
	return ""
}
