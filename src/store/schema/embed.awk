# Makes C of the schema files given, in order: one string each, without comments and empty lines.
BEGIN {
    print "/* Made from schema/NNN.sql: change those. */"
    print "#include \"store/store_priv.h\"\n"
    print "const char *const store_schema_scripts[] = {"
}
FNR == 1 && NR > 1 { print "    ," }
{
    sub(/--.*$/, "")
    if ($0 ~ /^[ \t]*$/) { next }
    gsub(/\\/, "\\\\")
    gsub(/"/, "\\\"")
    print "    \"" $0 "\\n\""
}
END {
    print "};"
    print "const size_t store_schema_script_count = countof(store_schema_scripts);"
}
