# TAP of one program -> lines of `status, suite, file, name, detail`, separated by tabs.
# Give -v suite=, -v file=, -v code= (its exit code; empty: it was killed).

function put(status, name, detail) {
    gsub(/\t/, " ", name)
    gsub(/\t/, " ", detail)
    printf "%s\t%s\t%s\t%s\t%s\n", status, suite, file, name, detail
    count[status]++
}

/^1\.\.[0-9]+/ {
    planned += substr($1, 4) + 0
    plans++
    if ($0 ~ /# *[Ss][Kk][Ii][Pp]/) {
        sub(/^[^#]*# *[Ss][Kk][Ii][Pp][a-z]* */, "")
        put("skip", file, $0)
    }
    next
}

/^(not )?ok( |$)/ {
    status = /^not ok/ ? "fail" : "pass"
    line = $0
    sub(/^(not )?ok */, "", line)
    sub(/^[0-9]+ */, "", line)
    sub(/^- */, "", line)
    detail = ""
    if (match(line, / *# *([Ss][Kk][Ii][Pp]|[Tt][Oo][Dd][Oo])/)) {
        detail = substr(line, RSTART + RLENGTH)
        sub(/^[: -]*/, "", detail)
        mark = substr(line, RSTART, RLENGTH)
        line = substr(line, 1, RSTART - 1)
        if (line == "") { # cmocka names a skipped case behind the mark
            line = detail
        }
        status = "skip"
    }
    seen++
    put(status, line, detail)
}

/^Bail out!/ {
    put("fail", file, $0)
}

END {
    if (code == "") {
        put("fail", file " ran to its end", "killed, or over its time")
    } else if (plans == 0) {
        put("fail", file " says how many cases it has", "no TAP plan; exit code " code)
    } else if (seen != planned) {
        put("fail", file " runs all its cases", "planned " planned ", ran " (seen + 0) "; exit code " code)
    } else if (code != 0 && count["fail"] == 0) {
        put("fail", file " ends well", "exit code " code)
    }
}
