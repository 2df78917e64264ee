package report

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// browser returns a context of chromedp for tabs of a browser. Without a browser it skips the test.
func browser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no chromium, chromium-browser or google-chrome to show the page with")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // for the root of a container
		chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
	)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", path, err)
	}
	return ctx
}

// tab opens a tab in a browser.
func tab(ctx context.Context, t *testing.T) context.Context {
	t.Helper()
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatal(err)
	}
	return ctx
}

// visit opens a page in a tab. It returns the browser's complaints, and the addresses that it
// requested besides the page's own.
func visit(ctx context.Context, t *testing.T, html string) (complaints, requests []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.html")
	if err := os.WriteFile(file, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	url := "file://" + file
	var mu sync.Mutex
	if err := chromedp.Listen(ctx, func(event any) {
		mu.Lock()
		defer mu.Unlock()
		switch event := event.(type) {
		case *runtime.EventConsoleAPICalled:
			switch event.Type {
			case runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeAssert:
				complaints = append(complaints, fmt.Sprintf("console.%s", event.Type))
			}
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, event.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			complaints = append(complaints, event.Entry.Text)
		case *network.EventRequestWillBeSent:
			if event.Request.URL != url && !strings.HasPrefix(event.Request.URL, "data:") {
				requests = append(requests, event.Request.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	// The reply to the evaluation comes after all events of the load.
	if err := chromedp.Do(ctx, chromedp.Navigate(url), chromedp.Evaluate[chromedp.Void](`0`)); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	return append([]string(nil), complaints...), append([]string(nil), requests...)
}

// TestBrowserComplains checks that visit sees each kind of error, so that its silence means
// something.
func TestBrowserComplains(t *testing.T) {
	ctx := browser(t)
	for name, body := range map[string]string{
		"console":   `<script>console.error("no")</script>`,
		"exception": `<script>undefined.call()</script>`,
		"syntax":    `<script>{</script>`,
		"picture":   `<img src="missing.png">`,
	} {
		t.Run(name, func(t *testing.T) {
			complaints, requests := visit(tab(ctx, t), t, "<!DOCTYPE html><title>t</title>"+body)
			if len(complaints) == 0 {
				t.Error("not a complaint about the page")
			}
			if name == "picture" && len(requests) != 1 {
				t.Errorf("requests %q, want one", requests)
			}
		})
	}
}

// drawing is an svg element as the browser drew it.
type drawing struct {
	Label         string
	Width, Height float64
	Marks         int      // paths and texts of visible size
	Outside       []string // those that are cut off
}

// measureDrawings returns a drawing per svg element.
const measureDrawings = `[...document.querySelectorAll('svg')].map(svg => {
	const frame = svg.getBoundingClientRect();
	const marks = [...svg.querySelectorAll('path, text')].filter(mark => {
		const box = mark.getBoundingClientRect();
		return box.width > 0 || box.height > 0;
	});
	const outside = marks.filter(mark => {
		const box = mark.getBoundingClientRect();
		return box.left < frame.left - 1 || box.right > frame.right + 1 ||
			box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
	});
	return {
		Label: svg.getAttribute('aria-label') || '', Width: frame.width, Height: frame.height,
		Marks: marks.length, Outside: outside.map(mark => mark.textContent || mark.getAttribute('d')),
	};
})`

// TestMeasureDrawings checks that the script sees what it should see.
func TestMeasureDrawings(t *testing.T) {
	ctx := tab(browser(t), t)
	const start = `<svg width="200" height="100" viewBox="0 0 200 100" aria-label="x">`
	visit(ctx, t, "<!DOCTYPE html><title>t</title>"+
		start+`<path d="M1,1L99,99" stroke="red"/><text x="20" y="50">in</text></svg>`+
		start+`</svg>`+
		start+`<text x="195" y="50">out to the right</text><path d="M1,-9L1,50"/></svg>`)
	got := evaluate[[]drawing](ctx, t, measureDrawings)
	want := []drawing{
		{Label: "x", Width: 200, Height: 100, Marks: 2, Outside: []string{}},
		{Label: "x", Width: 200, Height: 100, Marks: 0, Outside: []string{}},
		{Label: "x", Width: 200, Height: 100, Marks: 2, Outside: []string{"out to the right", "M1,-9L1,50"}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestPageInBrowser(t *testing.T) {
	ctx := browser(t)
	long := sample()
	for i := range long.Cells {
		long.Cells[i].Variant = "a-variant-with-a-long-name-" + long.Cells[i].Variant
	}
	large := sample()
	for _, cell := range large.Cells {
		for _, round := range cell.Rounds {
			for f := range round {
				round[f] *= 1e5
			}
		}
	}
	for name, run := range map[string]*result.Run{"usual": sample(), "long names": long, "large numbers": large} {
		t.Run(name, func(t *testing.T) {
			var html bytes.Buffer
			if err := HTML(&html, run); err != nil {
				t.Fatal(err)
			}
			ctx := tab(ctx, t)
			complaints, requests := visit(ctx, t, html.String())
			for _, c := range complaints {
				t.Error(c)
			}
			if len(requests) > 0 {
				t.Errorf("the page asks for %q", requests)
			}
			drawings := evaluate[[]drawing](ctx, t, measureDrawings)
			pageWidth := evaluate[int](ctx, t, `document.documentElement.scrollWidth`)
			tabWidth := evaluate[int](ctx, t, `document.documentElement.clientWidth`)
			checkDrawings(t, drawings)
			if pageWidth > tabWidth {
				t.Errorf("the page is %d wide, the browser's tab %d", pageWidth, tabWidth)
			}
		})
	}
}

func evaluate[T any](ctx context.Context, t *testing.T, script string) T {
	t.Helper()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func checkDrawings(t *testing.T, drawings []drawing) {
	t.Helper()
	charts := 0
	for i, d := range drawings {
		if d.Width < 20 || d.Height < 8 || d.Marks == 0 {
			t.Errorf("drawing %d (%s) shows nothing: %+v", i, d.Label, d)
		}
		if len(d.Outside) > 0 {
			t.Errorf("drawing %d (%s) is cut off at %q", i, d.Label, d.Outside)
		}
		if d.Label == "" {
			continue // it belongs to the legend
		}
		charts++
		if d.Width < 250 || d.Height < 100 || d.Marks < 10 {
			t.Errorf("chart %d (%s) is not what a chart looks like: %+v", i, d.Label, d)
		}
	}
	if charts < 30 {
		t.Errorf("%d charts", charts)
	}
}
