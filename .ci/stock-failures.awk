# Reads what go test has printed and lists the failed tests that .ci/run may repeat: those that say
# that stock peers alone took part in them (tests/internal/harness, stock.go). A line has the
# package, the test, and the subtest that failed. There is no line, and the exit status is 1, if anything
# else has failed: another test, a package as a whole, a build.

function final(reason) { print "not repeated: " reason > "/dev/stderr"; failed = 1 }

# A report is indented by four spaces for each test around its own, and what a test says by four more.
match($0, /^ *--- FAIL: /) {
	depth = (index($0, "-") - 1) / 4
	names[++count] = $3
	at[depth] = count
	if (depth > 0) isParent[at[depth - 1]] = 1
	next
}

match($0, /^ +[A-Za-z0-9_]+\.go:[0-9]+: /) {
	match($0, /^ */)
	speaker = at[RLENGTH / 4 - 1]
	if ($0 ~ /: stock peers alone: /) isStock[speaker] = 1
	else speaks[speaker] = 1
	next
}

/^(panic|fatal error): / { panicked = 1 }

/^FAIL\t/ {
	if (count == 0 || panicked) final($2)
	for (i = 1; i <= count; i++) {
		if (isParent[i] && !speaks[i]) continue # failed because a subtest has
		if (isParent[i] || !isStock[i]) final($2 " " names[i])
		test = names[i]
		sub(/\/.*/, "", test)
		lines[++listed] = $2 "\t" test "\t" names[i]
	}
}

# Whatever stands before the line of a package belongs to it.
/^(ok|FAIL|\?|---)[ ]*\t/ {
	count = panicked = 0
	split("", isStock); split("", isParent); split("", speaks)
}

END {
	if (failed || listed == 0) exit 1
	for (i = 1; i <= listed; i++) print lines[i]
}
