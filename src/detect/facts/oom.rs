//! The OOM killer: who asked, who was killed, which limit, how much there was (mm/oom_kill.c, mm/memcontrol.c, mm/show_mem.c).

use crate::detect::facts::{between, cut, leading_number, number_after, set, set_number};
use crate::model::Event;

pub(super) fn read(event: &mut Event, body: &str) {
    asked(event, body);
    limit(event, body);
    machine(event, body);
    if let Some((_, rest)) = body.split_once(",task=")
        && let Some((name, tail)) = rest.rsplit_once(",pid=")
    {
        set(event, "victim", name);
        set_number(event, "victim_pid", leading_number(tail));
        set_number(event, "uid", number_after(tail, ",uid="));
    }
    killed(event, body);
    if event.details.contains_key("memcg") || body.starts_with("Memory cgroup out of memory") {
        set(event, "scope", "cgroup");
    }
}

/// `NAME invoked oom-killer: gfp_mask=…, order=0, oom_score_adj=0` (dump_header).
fn asked(event: &mut Event, body: &str) {
    if let Some((name, rest)) = body.split_once(" invoked oom-killer:") {
        event.comm.get_or_insert_with(|| cut(name.trim()));
        set_number(event, "order", number_after(rest, "order="));
    }
}

/// `oom-kill:constraint=…,oom_memcg=…` (dump_oom_summary), `memory: usage 1kB, limit 2kB, failcnt 3` (mem_cgroup_print_oom_meminfo).
fn limit(event: &mut Event, body: &str) {
    for (key, name) in [("oom_memcg=", "memcg"), ("task_memcg=", "task_memcg"), ("constraint=", "constraint")] {
        if let Some(value) = between(body, key, ",") {
            set(event, name, value.trim_start_matches("CONSTRAINT_"));
        }
    }
    if let Some((_, group)) = body.split_once("as a result of limit of ") {
        set(event, "memcg", group);
    }
    if body.starts_with("memory: usage ") {
        set_number(event, "memcg_usage_kb", number_after(body, "usage "));
        set_number(event, "memcg_limit_kb", number_after(body, "limit "));
    }
}

/// `Node 0 Normal free:1kB boost:0kB min:2kB …` (show_free_areas), `Free swap  = 0kB` (show_swap_cache_info).
fn machine(event: &mut Event, body: &str) {
    if body.starts_with("Node ") && body.contains(" free:") && body.contains(" min:") && !body.contains(" DMA free:") {
        set_number(event, "free_kb", number_after(body, " free:"));
        set_number(event, "min_kb", number_after(body, " min:"));
    }
    for (lead, name) in [("Free swap ", "swap_free_kb"), ("Total swap ", "swap_total_kb")] {
        if body.starts_with(lead) {
            set_number(event, name, number_after(body, "= "));
        }
    }
}

/// `Killed process 12 (name) total-vm:1kB, anon-rss:1kB, file-rss:1kB, shmem-rss:1kB, UID:0 pgtables:1kB oom_score_adj:0`.
fn killed(event: &mut Event, body: &str) {
    for lead in ["Killed process ", "Kill process "] {
        let Some((_, rest)) = body.split_once(lead) else { continue };
        set_number(event, "victim_pid", leading_number(rest));
        // The name stands in parentheses and may hold some.
        if let (Some(open), Some(close)) = (rest.find('('), rest.rfind(") ").or_else(|| rest.rfind(')')))
            && open < close
        {
            set(event, "victim", &rest[open + 1..close]);
        }
        for (key, name) in [
            ("total-vm:", "total_vm_kb"),
            ("anon-rss:", "anon_rss_kb"),
            ("file-rss:", "file_rss_kb"),
            ("shmem-rss:", "shmem_rss_kb"),
            ("pgtables:", "pgtables_kb"),
            ("UID:", "uid"),
        ] {
            set_number(event, name, number_after(rest, key));
        }
        // -1000 to 1000.
        if let Some((_, adj)) = rest.split_once("oom_score_adj:") {
            let digits = adj.bytes().take_while(|c| c.is_ascii_digit() || *c == b'-').count();
            set(event, "oom_score_adj", &adj[..digits]);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::detect::facts::tests::details_of;
    use crate::model::Kind;

    #[test]
    fn a_kill_for_the_whole_machine() {
        let got = details_of(
            Kind::Oom,
            "java invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0\n\
             Node 0 DMA free:11264kB boost:0kB min:128kB low:160kB high:192kB\n\
             Node 0 Normal free:41320kB boost:0kB min:45056kB low:56320kB high:67584kB\n\
             Free swap  = 12kB\nTotal swap = 2097148kB\n\
             oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/user.slice,task=a,b,pid=77,uid=1000\n\
             Out of memory: Killed process 77 (a,b) total-vm:100kB, anon-rss:90kB, file-rss:4kB, shmem-rss:0kB, UID:1000 pgtables:8kB oom_score_adj:-500",
        );
        assert_eq!(
            got,
            [
                "anon_rss_kb=90",
                "constraint=NONE",
                "file_rss_kb=4",
                "free_kb=41320",
                "min_kb=45056",
                "oom_score_adj=-500",
                "order=0",
                "pgtables_kb=8",
                "shmem_rss_kb=0",
                "swap_free_kb=12",
                "swap_total_kb=2097148",
                "task_memcg=/user.slice",
                "total_vm_kb=100",
                "uid=1000",
                "victim=a,b",
                "victim_pid=77",
            ]
        );
    }

    #[test]
    fn a_kill_for_a_cgroup() {
        let got = details_of(
            Kind::Oom,
            "memory: usage 524288kB, limit 524288kB, failcnt 330\n\
             oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/app,task_memcg=/app/x,task=java,pid=9,uid=0",
        );
        assert_eq!(
            got,
            [
                "constraint=MEMCG",
                "memcg=/app",
                "memcg_limit_kb=524288",
                "memcg_usage_kb=524288",
                "scope=cgroup",
                "task_memcg=/app/x",
                "uid=0",
                "victim=java",
                "victim_pid=9",
            ]
        );
    }
}
