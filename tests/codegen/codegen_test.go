package codegen

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	kitelineModule  = "github.com/kiteline/kiteline"
	generatedModule = "example.com/generated"
	clientSuite     = "client.WithSuite(kiteline.NewClientSuite())"
	muxClientSuite  = "client.WithSuite(kiteline.NewMuxClientSuite())"
	serverSuite     = "server.WithSuite(kiteline.NewServerSuite())"
)

// templates are the extensions that make generated clients apply a suite.
var templates = map[string]string{
	clientSuite:    "idl/kiteline-template.json",
	muxClientSuite: "idl/kiteline-mux-template.json",
}

// One module holds all the generated code, because building it takes most of the time.
func TestTemplateExtension(t *testing.T) {
	root := repositoryRoot(t)
	module := newModule(t, root)

	generations := []struct {
		name    string
		flags   []string
		idl     string
		service string // the folder of the generated client and server
		clients int    // number of constructors of clients, which must all apply the suite
		suite   string // of a client
	}{
		{"calls", []string{"-service", "echo"}, "echo.thrift", "kitex_gen/echo/echoservice", 1, clientSuite},
		{"shared connections", []string{"-gen-path", "mux_gen"}, "echo.thrift", "mux_gen/echo/echoservice", 1, muxClientSuite},
		{"streams", []string{"-streamx"}, "echostream.thrift", "kitex_gen/echostream/echostreamservice", 1, clientSuite},
		{"streams without streamx", []string{"-gen-path", "grpc_gen"}, "echostream.thrift", "grpc_gen/echostream/echostreamservice", 2, clientSuite},
	}
	for _, g := range generations {
		t.Run(g.name, func(t *testing.T) {
			arguments := []string{
				"tool", "-modfile=" + input(t, root, "tools/go.mod"), "kitex",
				"-module", generatedModule,
				"-template-extension", input(t, root, templates[g.suite]),
			}
			arguments = append(arguments, g.flags...)
			goCommand(t, module, append(arguments, input(t, root, "idl/"+g.idl))...)

			checkCount(t, filepath.Join(module, g.service, "client.go"), g.suite, g.clients)
			checkCount(t, filepath.Join(module, g.service, "server.go"), serverSuite, 1)
		})
	}
	if t.Failed() {
		return
	}

	copyFile(t, filepath.Join("testdata", "main.go.txt"), filepath.Join(module, "cmd", "echo", "main.go"))
	goCommand(t, module, "build", "./...")
	goCommand(t, module, "vet", "./...")

	output := goCommand(t, module, "run", "./cmd/echo")
	wants := []string{
		`(?m)^server ` + kitelineModule + `/`,
		`(?m)^client ` + kitelineModule + `/`,
		`(?m)^answer greeting hello$`,
	}
	for _, want := range wants {
		if !regexp.MustCompile(want).MatchString(output) {
			t.Errorf("output of the generated program does not match %q:\n%s", want, output)
		}
	}
}

func repositoryRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// input returns the path of a file that commands of this test read. It opens the file: the go
// command sees which files a test opens, and then does not use an old result after a change of the
// file.
func input(t *testing.T, root, name string) string {
	t.Helper()
	path := filepath.Join(root, filepath.FromSlash(name))
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// newModule writes a module that has the requirements of the repository's root module and takes
// Kiteline from the repository. It builds from the module cache as it is.
func newModule(t *testing.T, root string) string {
	t.Helper()
	module := t.TempDir()

	requirements, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	rootLine := []byte("module " + kitelineModule + "\n")
	if !bytes.Contains(requirements, rootLine) {
		t.Fatalf("go.mod of the repository has no line %q", rootLine)
	}
	content := bytes.Replace(requirements, rootLine, []byte("module "+generatedModule+"\n"), 1)
	content = fmt.Appendf(content, "\nrequire %[1]s v0.0.0\n\nreplace %[1]s => %[2]q\n", kitelineModule, root)
	if err := os.WriteFile(filepath.Join(module, "go.mod"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(root, "go.sum"), filepath.Join(module, "go.sum"))
	return module
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func checkCount(t *testing.T, path, text string, want int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(content), text); got != want {
		t.Errorf("%s contains %q %d times, want %d", path, text, got, want)
	}
}

// goCommand runs the go command in a folder and returns what it printed.
func goCommand(t *testing.T, folder string, arguments ...string) string {
	t.Helper()
	// A generator or a build that hangs must fail with its output, not with the stacks of this
	// test.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = folder
	// A workspace or flags of the caller, such as -mod, are meant for another module.
	command.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(arguments, " "), err, output)
	}
	return string(output)
}
