//! Functions that are never at fault: they report, allocate, copy, lock or dispatch for somebody else.
//!
//! A name that ends in `*` stands for all names that begin so. Grouped by the part of the kernel.

/// Printing, dumping, unwinding, entering a trap: on top of every report.
const REPORTING: &str = "\
    dump_stack* __dump_stack show_stack* show_trace* show_regs* dump_backtrace* unwind_backtrace print_* vpanic \
    panic __warn* warn_slowpath* warn_alloc* report_bug* __report_bug* fixup_bug* do_error_trap do_invalid_op \
    handle_bug exc_invalid_op asm_exc_* exc_* do_trap* invalid_op error_entry die __die* die_kernel_fault \
    oops_* no_context bad_area* __bad_area* do_page_fault __do_page_fault page_fault* do_kern_addr_fault \
    do_user_addr_fault handle_page_fault async_page_fault do_async_page_fault trace_page_fault \
    kernelmode_fixup_or_oops do_general_protection general_protection do_mem_abort do_translation_fault el1_* \
    el1h_* el0_ia do_DataAbort __dabt_svc __pabt_svc __und_svc __irq_svc do_undefinstr bug_handler brk_handler \
    do_debug_exception do_el1_* call_break_hook vprintk* _printk printk* __memcpy* __ubsan_* __kcsan_* kcsan_* \
    check_access ubsan_epilogue val_to_string* handle_overflow debug_print_object __debug_object* debug_object* \
    debug_check_no_obj_freed __debug_check_no_obj_freed ___might_sleep __might_sleep __might_resched \
    __might_fault might_fault __cant_sleep __schedule_bug schedule_debug check_preemption_disabled \
    debug_smp_processor_id __this_cpu_preempt_check lockdep_rcu_suspicious __list_add_valid* __list_del_entry* \
    __bad_stack panic_bad_stack fortify_panic __fortify_panic usercopy_* __check_object_size* check_heap_object __check_heap_object \
    check_stack_object report_usercopy stack_trace_* save_stack* __save_stack_trace arch_stack_walk* \
    walk_stackframe unwind_* __unwind_start update_stack_state set_track* nmi_* arch_trigger_cpumask_backtrace* \
    trigger_* __handle_sysrq write_sysrq_trigger __stack_chk_fail handle_stack_overflow double_fault* \
    do_double_fault ret_from_exception exception_* handle_exception do_bad_area do_sect_fault rust_panic \
    rust_begin_unwind _RNvCscSpY9Juk0HT_7___rustc17rust_begin_unwind rust_helper_BUG arm_notify_die \
    __do_kernel_fault* report_addr regmap_oops vmalloc_fault asm_sysvec_* lkdtm_do_action do_tag_check_fault \
    handle_bad_stack check_panic_on_warn warn_bogus_irq_restore va_format dev_vprintk* dev_printk* __dev_printk \
    _dev_* hex_dump_to_buffer __x86_indirect_thunk* __x86_return_thunk __phys_addr* __virt_to_phys* \
    __sanitizer_cov_* irqentry_* el1t_*";

/// The sanitizers and their hooks.
const SANITIZERS: &str = "\
    kasan_* __kasan_* __asan_* asan_* __hwasan_* check_memory_region* check_region_inline memory_is_poisoned* \
    bytes_is_* kfence_* __kfence_* kmsan_* __kmsan_* __msan_* msan_* check_bytes_and_report object_err slab_* \
    ___slab_* __slab_* check_slab* check_object* free_debug_processing alloc_debug_processing \
    free_to_partial_list on_freelist __tsan_* __sanitizer_* addr_has_metadata get_address_stack_frame_info \
    poison_* track_* __asan __internal_memcpy end_report";

/// Allocators and what is built on them.
const MEMORY: &str = "\
    kmalloc kmalloc_node* kmalloc_trace* kmalloc_order* kmalloc_array* kmalloc_slab kmalloc_large* \
    kmalloc_reserve kmalloc_noprof kmalloc_track* kmalloc_type __kmalloc* __do_kmalloc* ___kmalloc* kfree* \
    __kfree* kvfree* kvmalloc* __kvmalloc* kzalloc* kzfree kcalloc* kmem_cache_* __kmem_cache_* ___cache_free \
    __cache_free* do_slab_free new_slab* allocate_slab alloc_slab_page __alloc_pages* alloc_pages* \
    __get_free_pages get_free_pages* get_page_from_freelist free_pages* __free_pages* free_unref_* \
    free_pcppages_bulk free_the_page __alloc_frozen_pages* alloc_frozen_pages* vmalloc* __vmalloc* vzalloc* \
    vfree __vfree __vunmap memdup_* kmemdup* _kmemdup kstrdup* kstrndup vmemdup_* krealloc* __krealloc* \
    __do_krealloc krealloc_* devm_kmalloc* devm_kzalloc* dma_alloc_* mempool_* pcpu_* __alloc_percpu* \
    free_percpu prep_new_page post_alloc_hook rmqueue* __rmqueue* kvasprintf* kasprintf strndup_user \
    alloc_slab_obj_exts __kmem_cache_free* qlist_* quarantine_* cache_grow* cache_alloc_* alloc_page_* \
    __page_table_check* slub_* bad_page check_new_page* check_free_page* free_page_* free_one_page \
    free_frozen_* free_large_kmalloc free_folio* __folio_put* kmemleak_* skb_release_data_kfree kfree_skb* \
    __build_skb* napi_alloc_* set_page_address kmap* kunmap* __do_sys_kmalloc reserve_memory";

/// Strings, memory copies, numbers, bits, atomics, user access.
const LIBRARY: &str = "\
    mem* __mem* str* __str* vsnprintf snprintf vscnprintf sprintf scnprintf string string_nocheck hex_string \
    pointer number copy_from_user* copy_to_user* _copy_from_user _copy_to_user __copy_* _copy_* copy_user_* \
    copy_from_iter* copy_to_iter* copyin copyout copy_page_* rep_movs_alternative csum_* __arch_copy_* \
    instrument_* get_user* put_user* __get_user* __put_user* constant_test_bit variable_test_bit test_bit* \
    set_bit* clear_bit* _test_bit test_and_* arch_test_bit atomic_* atomic64_* atomic_long_* arch_atomic* \
    raw_atomic* __read_once* __write_once* __readonce* read_word_at_a_time find_first_* find_next_* _find_* \
    refcount_* __refcount_* kref_* crc16* crc32* crc_* ida_* idr_* __idr_* xas_* xa_* __xa_* rb_* __rb_* list_* \
    __list_* hlist_* __hlist_* rht_* rhashtable_* __rhashtable_* plist_* llist_* klist_* lockref_* percpu_ref_* \
    assoc_array_* bitmap_* __bitmap_* hweight* __sw_hweight* kobject_* kset_* kref_put siphash* jhash* \
    _parse_integer* kstrto* simple_strto* sscanf vsscanf skip_atoi interval_tree_* sort sort_r ref_tracker_* \
    skb_put skb_push skb_pull skb_over_panic skb_under_panic skb_panic instrument_atomic_* queued_* native_* \
    pv_* paravirt_* __raw_* arch_static_branch* INIT_* page_ref_* put_page* get_page* folio_*ref* \
    page_fixed_fake_head __preempt_count_* preempt_* in_gate_area cpumask_* swab* __swab* le32_to_cpu* __fswab* \
    current_thread_info get_current spin_lock_*";

/// Locks, waiting, scheduling.
const LOCKS: &str = "\
    lock_acquire* __lock_acquire* lock_release* __lock_release lock_acquired __lock_acquired \
    register_lock_class mark_lock* validate_chain check_*_irq* check_prev* check_deadlock check_noncircular \
    check_usage* check_irq_usage check_wait_context valid_state look_up_lock_class assign_lock_key lockdep_* \
    __lockdep_* lock_*_invariant* debug_check_no_locks* debug_lock* match_held_lock lock_set_class \
    __lock_set_class lock_is_held* __lock_is_held lock_downgrade lock_unpin_lock lock_pin_lock mark_held_locks \
    mark_usage __trace_hardirqs* trace_hardirqs* trace_softirqs* assert_*_held* save_trace static_obj \
    reacquire_held_locks print_bad_* _raw_* __raw_spin_* do_raw_* spin_* __spin_* _spin_* raw_spin_* raw_read_* \
    raw_write_* read_lock* write_lock* rwlock_* mutex_* __mutex_* ww_mutex_* rt_mutex_* __rt_mutex_* rt_spin_* \
    rtlock_* down_* __down* down up up_* __up_* rwsem_* __rwsem_* call_rwsem_* percpu_down* percpu_up* \
    __percpu_* seqcount_* do_write_seqcount_* __seqprop_* rcu_read_* rcu_lock_* __rcu_read_* rcu_preempt_* \
    rcu_note_* rcu_dereference* rcu_is_* local_bh_* __local_bh_* _local_bh_* lock_sock* __lock_sock* \
    release_sock_own* osq_* local_lock* __queued_* netif_tx_lock* hlock_class lock_page* __lock_page* \
    lock_buffer __lock_buffer unlock_page unlock_buffer _atomic_dec_and_lock* mark_buffer_dirty folio_lock* \
    __folio_lock* lock_kernel";

/// Timers, work queues and the driver core act on what they are given.
const CORE: &str = "\
    del_timer* try_to_del_timer* timer_delete* __timer_delete* __try_to_del_timer* mod_timer __mod_timer \
    add_timer* lock_timer_base init_timer_key timer_is_static_object timer_fixup_* hrtimer_fixup_* __queue_work \
    queue_work* queue_delayed_work* __queue_delayed_work* insert_work mod_delayed_work* worker_thread \
    process_one_work process_scheduled_works kthread task_work_run get_device* put_device device_add device_del \
    device_register device_unregister device_create* device_remove_* device_release* devres_* release_nodes \
    driver_* sysfs_* kernfs_* __kernfs_* kobj_* __kobject_* klist_* dpm_* usb_kill_* usb_submit_urb \
    usb_start_wait_urb usb_control_msg* usb_bulk_msg usb_unpoison_* iput dput fast_dput fput";

/// Only in hangs and stalls: waiting itself.
const WAITING: &str = "\
    _cond_resched* __cond_resched* schedule* __schedule* __switch_to* context_switch* io_schedule* wait_for_* \
    __wait_for_* do_wait_for_* wait_on_* __wait_on_* do_wait_* wait_event_* __wait_* prepare_to_* finish_wait \
    bit_wait* __wait_on_bit* out_of_line_wait* wait_consider_* wait_transaction_locked jbd2_log_wait_commit \
    folio_wait_* __folio_* wake_* __wake_up* kthread_stop* kthread_park* flush_work __flush_work* \
    __flush_workqueue flush_workqueue* drain_workqueue cancel_work_sync __cancel_work* cancel_delayed_work* \
    do_read_cache_* completion_* msleep* usleep_* nanosleep* inode_lock* preempt_schedule* wb_wait_for_* \
    blk_mq_freeze_queue* synchronize_irq swait_* do_sched_yield __refrigerator freezing_* destroy_workqueue \
    console_lock filemap_fdatawait* __filemap_fdatawait* filemap_write_and_wait* \
    truncate_inode_pages_range_wait";

/// Entering the kernel and handing on: nobody's fault, and the end of a search.
const DISPATCH: &str = "\
    entry_* do_syscall_* do_int80* do_fast_syscall* __do_fast_syscall* ret_from_fork* ret_fast_syscall \
    system_call* syscall_* el0_* el0t_* invoke_syscall do_el0_svc stub_* ia32_* sysenter_* int_ret_from_* \
    x64_sys_call ia32_sys_call __irqentry_* common_interrupt* irq_exit* __irq_exit* kernel_thread_starter \
    start_secondary* secondary_startup* cpu_startup_entry do_idle";

fn listed(name: &str, list: &str) -> bool {
    // Rust's panic machinery, mangled.
    if name.contains("panicking") {
        return true;
    }
    list.split_ascii_whitespace().any(|p| match p.strip_suffix('*') {
        Some(lead) => name.starts_with(lead),
        None => name == p,
    })
}

/// Never the function of any report.
pub(crate) fn is_helper(name: &str) -> bool {
    [REPORTING, SANITIZERS, MEMORY, LIBRARY, LOCKS, CORE, DISPATCH].iter().any(|l| listed(name, l))
}

/// Not what a hanging task waits in.
pub(crate) fn is_waiting(name: &str) -> bool {
    listed(name, WAITING)
}

/// Prints, dumps or checks: skipped even where the function of a header or program counter is taken as it is.
pub(crate) fn is_reporting(name: &str) -> bool {
    [REPORTING, SANITIZERS].iter().any(|l| listed(name, l))
}

/// Frames that call into subsystems: in a stall, the frame above the first of them is what is long-running, while
/// the top frame is whatever the interrupt happened to hit.
const ANCHORS: &str = "\
    entry_* do_syscall_* do_int80* do_fast_syscall* __do_fast_syscall* ret_fast_syscall system_call* el0_svc* \
    invoke_syscall do_el0_svc x64_sys_call ia32_sys_call sysenter_* tracesys* call_timer_fn __run_timer* \
    expire_timers run_timer_softirq __do_softirq handle_softirqs do_softirq* __hrtimer_run_queues __run_hrtimer \
    tasklet_action* net_rx_action __napi_poll napi_poll process_one_work kthread vfs_read vfs_write __vfs_read \
    __vfs_write new_sync_read new_sync_write call_read_iter call_write_iter do_iter_* do_loop_readv_writev \
    vfs_ioctl __do_vfs_ioctl do_vfs_ioctl sock_sendmsg* __sock_sendmsg task_work_run __fput netlink_rcv_skb \
    rtnetlink_rcv_msg nfnetlink_rcv_msg genl_* netlink_dump __netif_receive_skb_core* \
    __netif_receive_skb_one_core __netif_receive_skb deliver_skb blkdev_ioctl __blkdev_driver_ioctl \
    blkdev_driver_ioctl compat_blkdev_ioctl blkdev_compat* rcu_do_batch ksys_ioctl ksys_read ksys_write \
    SyS_ioctl SYSC_ioctl __x64_sys_ioctl __se_sys_ioctl __arm64_sys_ioctl compat_SyS_ioctl \
    __ia32_compat_sys_ioctl C_SYSC_ioctl ret_from_fork* __do_compat_sys_*";

pub(crate) fn is_anchor(name: &str) -> bool {
    listed(name, ANCHORS)
}

/// Where an interrupt enters: what stands behind it was running before.
const INTERRUPT_ENTRY: &str = "\
    apic_timer_interrupt asm_sysvec_apic_timer_interrupt asm_sysvec_* asm_call_irq_on_stack el1_irq el1h_64_irq \
    __irq_svc el1_interrupt gic_handle_irq ret_from_intr common_interrupt asm_common_interrupt timer_interrupt \
    decrementer_common* hardware_interrupt_common* io_int_handler ext_int_handler ret_from_exception retint_* \
    nmi end_repeat_nmi asm_exc_nmi nmi_restore";

pub(crate) fn is_interrupt_entry(name: &str) -> bool {
    listed(name, INTERRUPT_ENTRY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_skipped_and_others_are_not() {
        for f in [
            "dump_stack_lvl",
            "kasan_report",
            "kfree",
            "memcpy",
            "_raw_spin_lock",
            "do_syscall_64",
            "refcount_warn_saturate",
        ] {
            assert!(is_helper(f), "{f}");
        }
        for f in ["ext4_file_read_iter", "tcp_sendmsg", "rtnl_newlink", "ip_rcv", "vfs_write"] {
            assert!(!is_helper(f), "{f}");
        }
        assert!(
            is_waiting("schedule_timeout") && is_anchor("call_timer_fn") && is_interrupt_entry("apic_timer_interrupt")
        );
    }
}
