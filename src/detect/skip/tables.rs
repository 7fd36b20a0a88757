//! The names, grouped by the part of the kernel and the reason why they are nobody's fault.
//!
//! Names are whole; one that ends in `*` stands for all that begin so, and is used only where everything with that
//! beginning is of the kind. Short beginnings that other subsystems share (`str`, `mem`, `check_`) are spelled out.

/// Functions that share a reason.
pub(crate) struct Group {
    /// Why they are passed over, and where they live.
    #[allow(dead_code, reason = "for whoever reads the table; a test walks it")]
    pub why: &'static str,
    /// Separated by white space.
    pub names: &'static str,
}

const fn group(why: &'static str, names: &'static str) -> Group {
    Group { why, names }
}

/// On top of every report: printing, dumping, entering a trap, the check that failed.
pub(crate) const REPORTING: &[Group] = &[
    group(
        "prints stacks and registers: lib/dump_stack.c, arch/*/kernel/{dumpstack,traps,process}.c",
        "dump_stack* __dump_stack show_stack* show_trace* show_regs* dump_backtrace* unwind_backtrace walk_stackframe \
         print_* __die* die die_kernel_fault oops_* va_format hex_dump_to_buffer lib_dump_stack nmi_* \
         arch_trigger_cpumask_backtrace* trigger_* check_hung_* printk* _printk vprintk* dev_vprintk* dev_printk* \
         __dev_printk _dev_* __netdev_printk netdev_printk",
    ),
    group(
        "kernel/panic.c, lib/bug.c: panics and warns for its caller",
        "panic vpanic nmi_panic check_panic_on_warn __warn* __WARN_trap warn_slowpath* warn_alloc* warn_bogus_irq_restore \
         report_bug* __report_bug* fixup_bug* handle_bug bug_handler brk_handler call_break_hook __stack_chk_fail \
         handle_stack_overflow handle_bad_stack panic_bad_stack __bad_stack rust_helper_BUG rust_helper_*",
    ),
    group(
        "kernel/trace, include/trace/*.h: tracepoint probes read what their caller has",
        "perf_trace_* trace_event_raw_event_* trace_event_buffer_* __traceiter_* __bpf_trace_* perf_tp_event \
         perf_swevent_* ftrace_* __trace_*",
    ),
    group(
        "entries of exceptions, arch/x86/kernel/traps.c, arch/x86/mm/fault.c, arch/x86/entry",
        "do_error_trap do_invalid_op exc_* asm_exc_* do_trap* invalid_op error_entry no_context bad_area* __bad_area* \
         do_page_fault __do_page_fault page_fault* do_kern_addr_fault do_user_addr_fault handle_page_fault \
         async_page_fault do_async_page_fault trace_page_fault kernelmode_fixup_or_oops do_general_protection \
         general_protection double_fault* do_double_fault vmalloc_fault asm_sysvec_* do_debug_exception \
         irqentry_* page_fault_oops __x86_indirect_thunk* __x86_return_thunk xen_do_*",
    ),
    group(
        "entries of exceptions, arch/{arm,arm64,riscv,powerpc,s390,mips}/kernel and mm",
        "do_kernel_fault __do_kernel_fault* do_mem_abort do_translation_fault do_sect_fault do_bad_area do_bad \
         do_tag_check_fault do_alignment_fault do_sp_pc_abort el1_* el1h_* el1t_* el0_ia do_el1_* do_DataAbort do_PrefetchAbort \
         __dabt_svc __pabt_svc __und_svc __irq_svc do_undefinstr do_undefinstr* __und_* arm_notify_die bad_mode \
         arm64_notify_die force_signal_inject report_addr exception_* handle_exception ret_from_exception \
         do_trap_* ___do_page_fault do_page_fault_* pgm_check_handler __do_pgm_check do_dat_exception do_asce_exception \
         program_check_exception bad_page_fault",
    ),
    group(
        "checks that report about their caller: kernel/sched/core.c, lib/{list_debug,refcount,debugobjects,smp_processor_id}.c",
        "___might_sleep __might_sleep __might_resched __might_fault might_fault __cant_sleep __cant_migrate \
         __schedule_bug schedule_debug check_preemption_disabled debug_smp_processor_id __this_cpu_preempt_check \
         lockdep_rcu_suspicious __list_add_valid* __list_del_entry_valid* __list_add __list_del_entry* \
         debug_print_object __debug_object* debug_object* debug_check_no_obj_freed __debug_check_no_obj_freed \
         regmap_oops rht_assert*",
    ),
    group(
        "mm/usercopy.c, lib/string_helpers.c, mm/debug_vm_pgtable.c, arch/*/mm/physaddr.c: checks of an argument",
        "fortify_panic __fortify_panic __fortify_report usercopy_* __check_object_size* check_heap_object \
         __check_heap_object check_stack_object report_usercopy __phys_addr* __virt_to_phys* __check_page_span",
    ),
    group(
        "kernel/stacktrace.c and its users in sanitizers: save a stack to print it later",
        "stack_trace_* save_stack* __save_stack_trace arch_stack_walk* set_track* stack_depot_* depot_save_stack",
    ),
    group(
        "drivers/tty/sysrq.c, drivers/misc/lkdtm: crash because they were asked to",
        "__handle_sysrq write_sysrq_trigger handle_sysrq lkdtm_do_action direct_entry",
    ),
    group(
        "rust/kernel, Rust's core: the ends of a panic",
        "rust_panic rust_begin_unwind __rustc::rust_begin_unwind core::panicking::* core::option::unwrap_failed \
         core::option::expect_failed core::result::unwrap_failed core::cell::panic_* core::slice::index::* \
         core::str::slice_error_fail*",
    ),
];

/// The sanitizers and their hooks in the allocators.
pub(crate) const SANITIZERS: &[Group] = &[
    group(
        "mm/kasan, mm/kfence, mm/kmsan, kernel/kcsan, lib/ubsan.c, kernel/kcov.c: instrumentation",
        "kasan_* __kasan_* __asan_* asan_* __hwasan_* check_memory_region* check_region_inline memory_is_poisoned* \
         bytes_is_* kfence_* __kfence_* kmsan_* __kmsan_* __msan_* msan_* __tsan_* __kcsan_* kcsan_* check_access \
         __ubsan_* ubsan_epilogue val_to_string* handle_overflow handle_object_size_mismatch addr_has_metadata \
         get_address_stack_frame_info __asan __internal_memcpy end_report __sanitizer_* write_comp_data \
         check_kcov_mode poison_slab_object start_report",
    ),
    // The quarantine is not here: it walks objects that were freed, and when one of them is damaged the caller of the
    // moment is a chance victim.
    group(
        "mm/slub.c, mm/slab.c: consistency checks of an object on its way in or out",
        "check_bytes_and_report object_err slab_* ___slab_* __slab_* check_slab* check_object* free_debug_processing \
         alloc_debug_processing free_to_partial_list on_freelist poison_page* track_alloc track_free check_pad_bytes \
         verify_mem_not_deleted cache_free_debugcheck cache_alloc_debugcheck*",
    ),
];

/// Allocators and what is built on them: they serve whoever asks.
pub(crate) const MEMORY: &[Group] = &[
    group(
        "mm/slub.c, mm/slab*.c, mm/util.c: slabs and copies into them",
        "kmalloc kmalloc_node* kmalloc_trace* kmalloc_order* kmalloc_array* kmalloc_slab kmalloc_large* kmalloc_reserve \
         kmalloc_noprof kmalloc_track* kmalloc_type __kmalloc* __do_kmalloc* ___kmalloc* kfree* __kfree* kvfree* kvmalloc* \
         __kvmalloc* kzalloc* kzfree kcalloc* kmem_cache_* __kmem_cache_* ___cache_free __cache_free* do_slab_free \
         new_slab* allocate_slab cache_grow* cache_alloc_* memdup_* kmemdup* _kmemdup kstrdup* __kstrdup* kstrndup \
         vmemdup_* krealloc* __krealloc* __do_krealloc kvasprintf* kasprintf strndup_user alloc_slab_obj_exts \
         free_large_kmalloc slub_* mempool_* objpool_* cache_flusharray cache_reap drain_freelist",
    ),
    group(
        "mm/page_alloc.c, mm/vmalloc.c, mm/percpu.c: pages, mapped ranges, per-CPU memory",
        "__alloc_pages* alloc_pages* alloc_slab_page __get_free_pages get_free_pages* get_zeroed_page* \
         get_page_from_freelist free_pages* __free_pages* free_unref_* free_pcppages_bulk free_the_page \
         __alloc_frozen_pages* alloc_frozen_pages* vmalloc* __vmalloc* vzalloc* vfree __vfree __vunmap pcpu_* \
         __alloc_percpu* free_percpu prep_new_page post_alloc_hook rmqueue* __rmqueue* alloc_page_* __page_table_check* \
         bad_page check_new_page* check_free_page* free_page_* free_one_page free_frozen_* free_folio* __folio_put* \
         set_page_address kmap* kunmap* split_page vmap_* alloc_vmap_area* __get_vm_area_node",
    ),
    group(
        "mm/kmemleak.c, kernel/dma, drivers/base/devres.c: record or wrap an allocation",
        "kmemleak_* devm_kmalloc* devm_kzalloc* devm_kmemdup* dma_alloc_* dma_free_*",
    ),
    group(
        "net/core/skbuff.c: allocate and free the memory of a packet for a protocol or driver",
        "kfree_skb* __kfree_skb __build_skb* napi_alloc_* skb_release_data_kfree",
    ),
];

/// Strings, copies, numbers, containers, counters: act on what they are given.
pub(crate) const LIBRARY: &[Group] = &[
    group(
        "lib/string.c, arch/*/lib: strings and copies",
        "memcpy* memset* memmove* memcmp* memchr* memscan memparse memweight mem_serialize_* memzero* __memcpy* __memset* __memmove* \
         __memcmp* strlen* strnlen* strcmp strncmp strcasecmp strncasecmp strcpy* strncpy* strlcpy strscpy* strcat \
         strncat strlcat strchr* strrchr strnchr* strstr strnstr strpbrk strsep strspn strcspn strim strstrip skip_spaces \
         strreplace string_* string sized_strscpy __strcpy* __strlen* __strscpy* strncpy_from_user* strnlen_user* \
         do_strncpy_from_user do_strnlen_user csum_* rep_movs_alternative rep_stos_alternative clear_page* copy_page_* \
         copy_user_* __arch_copy_* __arch_clear_user __clear_user clear_user* _copy_* __copy_*",
    ),
    group(
        "lib/vsprintf.c, lib/kstrtox.c: formats and numbers",
        "vsnprintf snprintf vscnprintf sprintf scnprintf vsprintf hex_string pointer number string_nocheck \
         _parse_integer* kstrto* simple_strto* sscanf vsscanf skip_atoi put_dec* symbol_string",
    ),
    group(
        "include/linux/uaccess.h, lib/usercopy.c, lib/iov_iter.c: memory of the caller's user",
        "copy_from_user* copy_to_user* copy_from_iter* copy_to_iter* copyin copyout get_user* put_user* __get_user* \
         __put_user* __might_fault copy_from_kernel_nofault* copy_to_kernel_nofault* probe_kernel_*",
    ),
    group(
        "include/linux/{bitops,atomic,refcount,kref}.h, lib/refcount.c: bits and counters",
        "constant_test_bit variable_test_bit test_bit* set_bit* clear_bit* __set_bit __clear_bit _test_bit test_and_* \
         arch_test_bit atomic_* atomic64_* atomic_long_* arch_atomic* raw_atomic* __read_once* __write_once* __readonce* \
         read_word_at_a_time instrument_* find_first_* find_next_* _find_* bitmap_* __bitmap_* hweight* __sw_hweight* \
         refcount_* __refcount_* kref_* percpu_ref_* lockref_* ref_tracker_* rcuref_* __preempt_count_* page_ref_* \
         put_page* get_page* page_fixed_fake_head folio_get folio_put* folio_try_get* folio_ref_*",
    ),
    group(
        "include/linux/*list*.h, lib/{rbtree,xarray,idr,rhashtable,klist,assoc_array}.c: containers",
        "ida_* idr_* __idr_* xas_* xa_* __xa_* rb_* __rb_* list_* __list_* hlist_* __hlist_* rht_* \
         rhashtable_* __rhashtable_* plist_* llist_* klist_* assoc_array_* interval_tree_* sort sort_r \
         kobject_* kset_* __kobject_*",
    ),
    group(
        "lib/crc*.c, lib/siphash.c, include/linux/{jhash,swab}.h: checksums and byte order",
        "crc16* crc32* crc_* siphash* __siphash* jhash* swab* __swab* le32_to_cpu* __fswab*",
    ),
    group(
        "include/asm-generic/io.h, lib/{iomap,logic_pio}.c: one access to a device for its driver",
        "readb readw readl readq writeb writew writel writeq ioread8 ioread16* ioread32* iowrite8 iowrite16* iowrite32* \
         inb inw inl outb outw outl logic_inb logic_inw logic_inl logic_outb logic_outw logic_outl",
    ),
    group(
        "crypto, lib/crypto: transform the data of the caller",
        "aes_encrypt aes_decrypt aesti_* cipher_crypt_one crypto_cipher_* crypto_shash_* crypto_rng_* drbg_*",
    ),
    group(
        "include/linux/skbuff.h: room in a packet",
        "skb_put skb_push skb_pull skb_over_panic skb_under_panic skb_panic __skb_put __skb_pull __skb_push",
    ),
    group(
        "arch headers: one instruction or a paravirtual call",
        "native_* pv_* paravirt_* queued_* __raw_* arch_static_branch* INIT_* preempt_* in_gate_area cpumask_* \
         current_thread_info get_current arch_local_* local_irq_* smp_processor_id",
    ),
];

/// Locks, their validator, RCU's read side.
pub(crate) const LOCKS: &[Group] = &[
    group(
        "kernel/locking/lockdep.c: the validator",
        "lock_acquire* __lock_acquire* lock_release* __lock_release lock_acquired __lock_acquired register_lock_class \
         mark_lock* validate_chain check_irq_usage check_usage* check_prev_add check_prevs_add check_deadlock \
         check_noncircular check_wait_context valid_state look_up_lock_class assign_lock_key lockdep_* __lockdep_* \
         debug_check_no_locks* debug_lock* match_held_lock lock_set_class __lock_set_class lock_is_held* \
         __lock_is_held lock_downgrade lock_unpin_lock lock_pin_lock mark_held_locks mark_usage __trace_hardirqs* \
         trace_hardirqs* trace_softirqs* find_held_lock hlock_class save_trace static_obj reacquire_held_locks \
         call_rcu_lock* add_chain_cache* lookup_chain_cache* check_chain_key",
    ),
    group(
        "kernel/locking: spin locks, mutexes, semaphores, and their slow paths",
        "_raw_* __raw_spin_* do_raw_* spin_* __spin_* _spin_* raw_spin_* raw_read_* raw_write_* read_lock* write_lock* \
         read_unlock* write_unlock* rwlock_* mutex_* __mutex_* ww_mutex_* rt_mutex_* __rt_mutex_* rt_spin_* rtlock_* \
         down_* __down* down up up_* __up_* rwsem_* __rwsem_* call_rwsem_* percpu_down* percpu_up* __percpu_down* \
         __percpu_up* percpu_rwsem_* seqcount_* do_write_seqcount_* __seqprop_* osq_* local_lock* __queued_* hlock_class \
         lock_kernel _atomic_dec_and_lock* atomic_dec_and_mutex_lock refcount_dec_and_*",
    ),
    group(
        "kernel/rcu, kernel/softirq.c: sections that are entered and left",
        "rcu_read_* rcu_lock_* __rcu_read_* rcu_preempt_* rcu_note_* rcu_dereference* rcu_is_* srcu_read_* __srcu_read_* \
         local_bh_* __local_bh_* _local_bh_*",
    ),
    group(
        "locks of one kind of object: net/core/sock.c, mm/filemap.c, fs/buffer.c",
        "lock_sock* __lock_sock* release_sock_own* netif_tx_lock* lock_page* __lock_page* lock_buffer __lock_buffer \
         unlock_page unlock_buffer mark_buffer_dirty folio_lock* __folio_lock* folio_unlock",
    ),
];

/// Timers, work queues, reference counts of objects and the driver core act on what they are given.
pub(crate) const CORE: &[Group] = &[
    group(
        "kernel/time/timer.c, kernel/time/hrtimer.c and the wrappers of net/core/sock.c: arm and disarm",
        "del_timer* try_to_del_timer* timer_delete* __timer_delete* __try_to_del_timer* timer_shutdown* mod_timer \
         __mod_timer timer_reduce add_timer* lock_timer_base detach_if_pending init_timer_key timer_is_static_object \
         timer_fixup_* hrtimer_fixup_* hrtimer_init* hrtimer_try_to_cancel hrtimer_cancel sk_stop_timer* sk_reset_timer",
    ),
    group(
        "kernel/workqueue.c, kernel/task_work.c, kernel/kthread.c: queue, cancel, run",
        "__queue_work queue_work* queue_delayed_work* __queue_delayed_work* insert_work mod_delayed_work* \
         try_to_grab_pending work_grab_pending __cancel_work* cancel_work* cancel_delayed_work* work_is_static_object \
         worker_thread process_one_work process_scheduled_works kthread task_work_run",
    ),
    group(
        "drivers/base, lib/kobject.c, fs/sysfs, fs/kernfs: devices in general",
        "get_device* put_device device_add device_del device_register device_unregister device_create* device_remove_* \
         device_release* devres_* release_nodes driver_* sysfs_* kernfs_* __kernfs_* kobj_* dpm_*",
    ),
    group(
        "drivers/usb/core: hand a request to the controller and wait",
        "usb_kill_* usb_submit_urb usb_start_wait_urb usb_control_msg* usb_bulk_msg usb_interrupt_msg usb_unpoison_* \
         usb_poison_*",
    ),
    group("fs/{inode,dcache,file_table}.c: give a reference back", "iput dput fast_dput fput"),
    group(
        "kernel/sched/completion.c: wake who waits on what they are given",
        "complete complete_all complete_with_flags swake_up_locked",
    ),
    group(
        "drivers/base/core.c, drivers/{i2c,tty,char/hw_random}: take back what a driver registered",
        "device_destroy device_for_each_child* add_uevent_var get_device_parent cleanup_glue_dir hwrng_unregister \
         i2c_del_adapter __unregister_client tty_unregister_device usb_hcd_submit_urb usb_hcd_unlink_urb",
    ),
];

/// Entering the kernel and handing on: nobody's fault, and the end of a search.
pub(crate) const DISPATCH: &[Group] = &[group(
    "arch/*/entry, arch/*/kernel/syscall*.c, kernel/entry: the way in",
    "entry_* do_syscall_* do_int80* do_fast_syscall* __do_fast_syscall* ret_from_fork* ret_fast_syscall \
     __sys_trace_return system_call* syscall_* el0_* el0t_* invoke_syscall do_el0_svc stub_* ia32_* sysenter_* \
     int_ret_from_* x64_sys_call ia32_sys_call __irqentry_* common_interrupt* irq_exit* __irq_exit* \
     kernel_thread_starter start_secondary* secondary_startup* cpu_startup_entry do_idle sysc_* ret_to_user",
)];

/// Only in hangs and stalls: waiting itself.
pub(crate) const WAITING: &[Group] = &[
    group(
        "kernel/sched: gives the CPU away, waits, wakes",
        "_cond_resched* __cond_resched* schedule* __schedule* __switch_to* context_switch* io_schedule* wait_for_* \
         __wait_for_* do_wait_for_* wait_on_* __wait_on_* do_wait_* wait_event_* __wait_* prepare_to_* finish_wait \
         bit_wait* __wait_on_bit* out_of_line_wait* wake_* __wake_up* completion_* msleep* usleep_* nanosleep* \
         preempt_schedule* swait_* do_sched_yield __refrigerator freezing_* kthread_stop* kthread_park*",
    ),
    group(
        "kernel/workqueue.c: waits for work to end",
        "flush_work __flush_work* __flush_workqueue flush_workqueue* drain_workqueue cancel_work_sync __cancel_work* \
         cancel_delayed_work* destroy_workqueue",
    ),
    group(
        "mm/filemap.c, fs/fs-writeback.c, fs/jbd2, block: waits for a page, a transaction or a queue",
        "folio_wait_* __folio_* do_read_cache_* wait_transaction_locked jbd2_log_wait_commit inode_lock* wb_wait_for_* \
         blk_mq_freeze_queue* filemap_fdatawait* __filemap_fdatawait* filemap_write_and_wait* fdatawait_* \
         truncate_inode_pages_range_wait",
    ),
    group("kernel/irq/manage.c, kernel/printk/printk.c", "synchronize_irq console_lock"),
];

/// Frames that call into subsystems: in a stall, the frame above the first of them is what is long-running, while
/// the top frame is whatever the interrupt happened to hit.
pub(crate) const ANCHORS: &[Group] = &[
    group(
        "arch/*/entry: system calls",
        "entry_* do_syscall_* do_int80* do_fast_syscall* __do_fast_syscall* ret_fast_syscall system_call* el0_svc* \
         invoke_syscall do_el0_svc x64_sys_call ia32_sys_call sysenter_* tracesys* ret_from_fork* __do_compat_sys_*",
    ),
    group(
        "kernel/{softirq,time/timer,time/hrtimer,workqueue,kthread,task_work}.c, kernel/rcu/tree.c: run what was queued",
        "call_timer_fn __run_timer* expire_timers run_timer_softirq __do_softirq handle_softirqs do_softirq* \
         __hrtimer_run_queues __run_hrtimer tasklet_action* process_one_work kthread task_work_run rcu_do_batch",
    ),
    group(
        "fs/{read_write,ioctl,file_table}.c, block/ioctl.c, fs/debugfs/file.c: call a file's operation",
        "vfs_read vfs_write __vfs_read __vfs_write new_sync_read new_sync_write call_read_iter call_write_iter do_iter_* \
         do_loop_readv_writev vfs_ioctl __do_vfs_ioctl do_vfs_ioctl __fput full_proxy_* blkdev_ioctl \
         __blkdev_driver_ioctl blkdev_driver_ioctl compat_blkdev_ioctl blkdev_compat* ksys_ioctl ksys_read ksys_write \
         SyS_ioctl SYSC_ioctl __x64_sys_ioctl __se_sys_ioctl __arm64_sys_ioctl compat_SyS_ioctl \
         __ia32_compat_sys_ioctl C_SYSC_ioctl",
    ),
    group(
        "net/{socket,core/dev}.c, net/netlink, net/netfilter: hand a message or a packet to its protocol",
        "net_rx_action __napi_poll napi_poll sock_sendmsg* __sock_sendmsg netlink_rcv_skb rtnetlink_rcv_msg \
         nfnetlink_rcv_msg genl_* netlink_dump __netif_receive_skb_core* __netif_receive_skb_one_core \
         __netif_receive_skb deliver_skb",
    ),
];

/// Where an interrupt enters: what stands behind it was running before.
pub(crate) const INTERRUPT_ENTRY: &[Group] = &[group(
    "arch/*/entry: asynchronous entries",
    "apic_timer_interrupt asm_sysvec_apic_timer_interrupt asm_sysvec_* asm_call_irq_on_stack el1_irq el1h_64_irq \
     __irq_svc el1_interrupt gic_handle_irq ret_from_intr common_interrupt asm_common_interrupt timer_interrupt \
     decrementer_common* hardware_interrupt_common* io_int_handler ext_int_handler ret_from_exception retint_* \
     nmi end_repeat_nmi asm_exc_nmi nmi_restore",
)];
