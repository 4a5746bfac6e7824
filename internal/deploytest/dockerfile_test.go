package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// instruction is one instruction of a Dockerfile.
type instruction struct {
	name string   // in capitals
	args []string // without options such as --from=build
	opts []string
}

func dockerfile(t *testing.T) []instruction {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	var list []instruction
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(b), "")
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		in := instruction{name: strings.ToUpper(words[0])}
		for _, w := range words[1:] {
			if strings.HasPrefix(w, "--") && len(in.args) == 0 {
				in.opts = append(in.opts, w)
			} else {
				in.args = append(in.args, w)
			}
		}
		list = append(list, in)
	}
	return list
}

// stages returns the instructions of each stage, FROM first.
func stages(t *testing.T) [][]instruction {
	t.Helper()
	var stages [][]instruction
	for _, in := range dockerfile(t) {
		if in.name == "FROM" {
			stages = append(stages, nil)
		}
		if len(stages) == 0 {
			t.Fatalf("%s comes before the first FROM", in.name)
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], in)
	}
	if len(stages) < 2 {
		t.Fatalf("the Dockerfile has %d stages, want one to build and one to ship", len(stages))
	}
	return stages
}

func makefile(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestImageIsBuiltByTheMakefile(t *testing.T) {
	var ran []string
	for _, in := range dockerfile(t) {
		if in.name != "RUN" {
			continue
		}
		if in.args[0] != "make" || len(in.args) != 2 {
			t.Errorf("RUN %s; want only targets of the Makefile", strings.Join(in.args, " "))
			continue
		}
		ran = append(ran, in.args[1])
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(in.args[1]) + `:`).MatchString(makefile(t)) {
			t.Errorf("RUN make %s: the Makefile has no such target", in.args[1])
		}
	}
	if !slices.Contains(ran, "build") {
		t.Errorf("the RUN steps make %q, want build among them", ran)
	}
}

func TestProgramsAreStatic(t *testing.T) {
	if !regexp.MustCompile(`(?m)^GOBUILD := CGO_ENABLED=0 .* build -trimpath$`).MatchString(makefile(t)) {
		t.Error("the Makefile does not build with CGO_ENABLED=0 and -trimpath")
	}
}

func TestDockerfileCopiesWhatExists(t *testing.T) {
	for _, in := range dockerfile(t) {
		if in.name != "COPY" {
			continue
		}
		fromStage := slices.ContainsFunc(in.opts, func(o string) bool { return strings.HasPrefix(o, "--from=") })
		for _, source := range in.args[:len(in.args)-1] {
			path := filepath.Join(root, source)
			if fromStage {
				// A program: make build names it after its folder.
				path = filepath.Join(root, "cmd", filepath.Base(source))
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("COPY %s: %v", source, err)
			}
			if !fromStage && ignored(t, source) {
				t.Errorf("COPY %s: .dockerignore keeps it out of the build", source)
			}
		}
	}
}

// ignored reports whether a line of .dockerignore is just that path.
func ignored(t *testing.T, path string) bool {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(strings.Split(string(b), "\n"), path)
}

func TestImageRunsTheWorkerWithoutRights(t *testing.T) {
	all := stages(t)
	final := all[len(all)-1]
	var user, command string
	for _, in := range final {
		switch in.name {
		case "USER":
			user = in.args[0]
		case "CMD":
			command = strings.Join(in.args, " ")
		case "RUN":
			t.Errorf("RUN %s in the stage that is shipped, which has no shell", strings.Join(in.args, " "))
		}
	}
	if name, _, _ := strings.Cut(user, ":"); name == "" || name == "root" || name == "0" {
		t.Errorf("the image runs as user %q, want one without rights", user)
	}
	if command != `["worker"]` {
		t.Errorf(`the image runs %s, want ["worker"]`, command)
	}
}

func TestImageIsBuiltWithTheGoOfTheModule(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(b))
	if m == nil {
		t.Fatal("go.mod has no go line")
	}
	if got := stages(t)[0][0].args[0]; got != "golang:"+m[1] {
		t.Errorf("the image is built with %s, want golang:%s as in go.mod", got, m[1])
	}
}
