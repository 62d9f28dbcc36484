# tools/perl/Proof.pm: what tools/cases and tools/failures share: what ran, whether a line's test is among it,
# and the count of open lines in a list's head, which only falls.
package Proof;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(finding findings passed_by_id test_finding check_open_count end_of_check);

my $findings = 0;

sub finding { my ($list, $line, $text) = @_; print "$list:$line: $text\n"; $findings++; return; }

# Passed tests by the ids in their names, from what ./dev test collected; and the suites that were skipped.
sub passed_by_id {
    my ($results, $id_form) = @_;
    my (%passed, %skipped);
    open my $ran, '<', $results or die "$results: $!\n";
    while (my $line = <$ran>) {
        chomp $line;
        my ($status, $suite, $file, $name) = split /\t/, $line;
        $skipped{$suite} = 1 if $status eq 'skip';
        next if $status ne 'pass';
        push @{ $passed{$_} }, [$file, $name] for $name =~ /$id_form/g;
    }
    close $ran;
    return (\%passed, \%skipped);
}

# What is wrong with `file::name` as the place where a test shows this id; undef where nothing is. Without
# $passed only the form is looked at.
sub test_finding {
    my ($id, $place, $passed) = @_;
    my ($file, $name) = $place =~ /^(\S+?)::(.+)$/;
    return "$id: a test is named as test-file::test-name" if !defined $name;
    return "$id: there is no $file" if !-f $file;
    return undef if !$passed;
    my @all = @{ $passed->{$id} // [] };
    my @here = grep { $_->[0] eq $file } @all;
    return "$id: no test that passed prints this id in its name" if !@all;
    return "$id: passed in $all[0][0], not in $file" if !@here;
    return "$id: the test that passed in $file is named '$here[0][1]'" if !grep { index($_->[1], $name) >= 0 } @here;
    return undef;
}

# The head says `# open: N`, which is the number of open lines and no more than in the last commit.
sub check_open_count {
    my ($list, $told, $open) = @_;
    finding($list, 1, "the head says `# open: N` with the number of open lines, which is $open")
        if !defined $told || $told != $open;
    my $before = `git show HEAD:$list 2>/dev/null` =~ /^# open: (\d+)$/m ? $1 : undef;
    finding($list, 1, "open lines rose from $before to $open") if defined $before && $open > $before;
    return;
}

# Ends the program where something was found.
sub end_of_check {
    my ($what) = @_;
    return if !$findings;
    print "$what: $findings finding", $findings == 1 ? '' : 's', "\n";
    exit 1;
}

1;
