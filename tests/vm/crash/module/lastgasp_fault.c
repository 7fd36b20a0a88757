// SPDX-License-Identifier: GPL-2.0
/*
 * Commits kernel faults on request, for tests in virtual machines:
 *
 *   echo null_read >/proc/lastgasp_fault
 *
 * Each fault is the real thing: the CPU, the allocator or the scheduler finds it, nothing is printed
 * by this module itself. The function at fault is named fault_NAME, so that a test can say which
 * function a report must name. What a fault needs to be found (a short timeout, a kernel argument)
 * is the scenario's business. Works on Linux 6.1 to 6.12, with and without PREEMPT_RT.
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/etherdevice.h>
#include <linux/gfp.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/nmi.h>
#include <linux/panic.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/rtnetlink.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

/* What the compiler must not know at compile time. */
static int *volatile null_pointer;
static void (*volatile null_function)(void);
static volatile int zero;
static volatile size_t copy_size = 256;
static volatile unsigned long non_canonical = 0xdead000000000000UL;
static const int read_only[4] = { 1, 2, 3, 4 };
static unsigned char not_code[64] = { 0xc3 };

static void __user *user_buffer;

/* Addresses. */

static noinline void fault_null_read(void)
{
	(void)READ_ONCE(null_pointer[4]);
}

static noinline void fault_null_write(void)
{
	WRITE_ONCE(null_pointer[4], 1);
}

static noinline void fault_null_call(void)
{
	null_function();
	barrier();
}

/* The guard page behind an area of vmalloc is never mapped. */
static noinline void fault_bad_address(void)
{
	char *area = vmalloc(PAGE_SIZE);

	if (area)
		(void)READ_ONCE(area[PAGE_SIZE]);
	vfree(area);
}

static noinline void fault_non_canonical(void)
{
	(void)READ_ONCE(*(int *)non_canonical);
}

static noinline void fault_write_read_only(void)
{
	int *p = (int *)read_only;

	OPTIMIZER_HIDE_VAR(p);
	WRITE_ONCE(*p, 2);
}

static noinline void fault_execute_data(void)
{
	void (*f)(void) = (void (*)(void))not_code;

	OPTIMIZER_HIDE_VAR(f);
	f();
	barrier();
}

/* Instructions. */

static noinline void fault_divide(void)
{
	zero = 7 / zero;
}

static noinline void fault_opcode(void)
{
	/* ud2 without an entry in the table of BUGs. */
	asm volatile(".byte 0x0f, 0x0b");
}

static noinline void fault_bug(void)
{
	BUG_ON(!zero);
}

static noinline void fault_warn(void)
{
	WARN(1, "a test of WARN\n");
}

static noinline void fault_warn_on(void)
{
	WARN_ON(!zero);
}

static noinline void fault_panic(void)
{
	panic("a test of panic");
	barrier();
}

/* The stack. */

static noinline int fault_stack_overflow(int depth)
{
	volatile char frame[512];

	frame[depth % 512] = depth;
	return fault_stack_overflow(depth + 1) + frame[zero];
}

static noinline void fault_stack_protector(void)
{
	char frame[16];
	char *p = frame;

	OPTIMIZER_HIDE_VAR(p);
	memset(p, 0x41, 16 + 24);
	OPTIMIZER_HIDE_VAR(p);
}

/*
 * Memory, of a cache of our own: what is damaged in it is nobody else's. The kernel does not merge it with others where
 * slub_debug is on, and finds a double free before it does any harm where it is off.
 */

static struct kmem_cache *objects;

static noinline void fault_double_free(void)
{
	void *p = kmem_cache_alloc(objects, GFP_KERNEL);

	kmem_cache_free(objects, p);
	OPTIMIZER_HIDE_VAR(p);
	kmem_cache_free(objects, p);
	/* A call at the very end would be a jump, and this function not on the stack. */
	barrier();
}

/* Seen with slub_debug=P only. */
static noinline void fault_use_after_free(void)
{
	char *p = kmem_cache_alloc(objects, GFP_KERNEL);
	void *same[8];
	int n;

	kmem_cache_free(objects, p);
	OPTIMIZER_HIDE_VAR(p);
	p[40] = 1;
	for (n = 0; n < ARRAY_SIZE(same); n++)
		same[n] = kmem_cache_alloc(objects, GFP_KERNEL);
	for (n = 0; n < ARRAY_SIZE(same); n++)
		kmem_cache_free(objects, same[n]);
}

static noinline void fault_list_add(void)
{
	LIST_HEAD(head);
	struct list_head one, two;

	list_add(&one, &head);
	head.next = &two;
	two.prev = &two;
	list_add(&two, &head);
	barrier();
}

static noinline void fault_list_del(void)
{
	LIST_HEAD(head);
	struct list_head one;

	list_add(&one, &head);
	list_del(&one);
	list_del(&one);
	barrier();
}

static noinline void fault_refcount_saturate(void)
{
	refcount_t r;

	refcount_set(&r, INT_MAX);
	refcount_inc(&r);
	barrier();
}

static noinline void fault_refcount_free(void)
{
	refcount_t r;

	refcount_set(&r, 0);
	refcount_inc(&r);
	barrier();
}

static noinline void fault_usercopy(void)
{
	void *p = kmalloc(96, GFP_KERNEL);

	/* Or the compiler, which knows the size, would have the kernel say so. */
	OPTIMIZER_HIDE_VAR(p);
	if (p && copy_to_user(user_buffer, p, copy_size))
		pr_debug("not copied\n");
	kfree(p);
	barrier();
}

static noinline void fault_bad_page(void)
{
	struct page *page = alloc_pages(GFP_KERNEL, 4);

	if (!page)
		return;
	/* As if somebody still had it mapped. */
	atomic_inc(&page->_mapcount);
	__free_pages(page, 4);
	barrier();
}

static noinline void fault_page_allocation(void)
{
	struct page *first = NULL, *page;
	int n;

	for (n = 0; n < 4096; n++) {
		page = alloc_pages(GFP_KERNEL | __GFP_NORETRY, 9);
		if (!page)
			break;
		page->private = (unsigned long)first;
		first = page;
	}
	while (first) {
		page = first;
		first = (struct page *)page->private;
		page->private = 0;
		__free_pages(page, 9);
	}
}

/* Scheduling. */

static noinline void fault_schedule_atomic(void)
{
	preempt_disable();
	/* The scheduler complains and puts the count right itself: no preempt_enable() behind it. */
	schedule_timeout_uninterruptible(1);
	barrier();
}

static noinline void fault_hung_task(void)
{
	schedule_timeout_uninterruptible(25 * HZ);
	barrier();
}

static DEFINE_MUTEX(held);

static noinline void fault_hung_mutex(void)
{
	mutex_lock(&held);
	mutex_unlock(&held);
	barrier();
}

static int hold_mutex(void *ready)
{
	mutex_lock(&held);
	complete(ready);
	/* Not in state D: only the one who waits for it hangs. */
	schedule_timeout_idle(25 * HZ);
	mutex_unlock(&held);
	return 0;
}

static void start_hung_mutex(void)
{
	DECLARE_COMPLETION_ONSTACK(ready);

	if (!IS_ERR(kthread_run(hold_mutex, &ready, "fault-holder"))) {
		wait_for_completion(&ready);
		fault_hung_mutex();
	}
}

static __always_inline void spin_for(unsigned int seconds)
{
	unsigned long end = jiffies + seconds * HZ;

	while (time_before(jiffies, end))
		cpu_relax();
}

static noinline void fault_soft_lockup(void)
{
	preempt_disable();
	spin_for(14);
	preempt_enable();
	barrier();
}

static noinline void fault_rcu_stall(void)
{
	unsigned long end = jiffies + 14 * HZ;

	rcu_read_lock();
	while (time_before(jiffies, end)) {
		touch_softlockup_watchdog();
		cpu_relax();
	}
	rcu_read_unlock();
}

/* Interrupts. */

static noinline void fault_in_interrupt(struct irq_work *work)
{
	(void)READ_ONCE(null_pointer[4]);
}

static struct irq_work interrupt_work = IRQ_WORK_INIT_HARD(fault_in_interrupt);

static noinline void fault_in_softirq(struct timer_list *timer)
{
	(void)READ_ONCE(null_pointer[4]);
}

static DEFINE_TIMER(softirq_timer, fault_in_softirq);

static void wait_a_second(void)
{
	schedule_timeout_idle(HZ);
}

static void start_in_interrupt(void)
{
	irq_work_queue(&interrupt_work);
	wait_a_second();
}

static void start_in_softirq(void)
{
	mod_timer(&softirq_timer, jiffies + 1);
	wait_a_second();
}

static noinline int fault_in_thread(void *unused)
{
	(void)READ_ONCE(null_pointer[4]);
	return 0;
}

static void start_in_thread(void)
{
	kthread_run(fault_in_thread, NULL, "fault thread]: x");
	wait_a_second();
}

/* An interface whose hardware takes one packet and never says that it was sent. */

static netdev_tx_t stuck_xmit(struct sk_buff *skb, struct net_device *dev)
{
	netif_stop_queue(dev);
	dev_kfree_skb(skb);
	return NETDEV_TX_OK;
}

static void stuck_timeout(struct net_device *dev, unsigned int queue)
{
}

static const struct net_device_ops stuck_ops = {
	.ndo_start_xmit = stuck_xmit,
	.ndo_tx_timeout = stuck_timeout,
};

static void stuck_setup(struct net_device *dev)
{
	ether_setup(dev);
	dev->netdev_ops = &stuck_ops;
	dev->watchdog_timeo = HZ;
	eth_hw_addr_random(dev);
}

static struct net_device *stuck;

static void start_tx_timeout(void)
{
	stuck = alloc_netdev(0, "stuck%d", NET_NAME_ENUM, stuck_setup);
	if (stuck && register_netdev(stuck)) {
		free_netdev(stuck);
		stuck = NULL;
	}
}

/*
 * Text without end, and one real fault in it: near the end, because from an oops on the kernel shows every line
 * on the console, and an emulated serial line takes its time.
 */

static unsigned int storm_lines = 200000;
module_param(storm_lines, uint, 0644);

static void print_lines(bool with_fault)
{
	ktime_t begun = ktime_get();
	unsigned int n;

	for (n = 0; n < storm_lines; n++) {
		pr_info("storm: line %u of a driver that has lost its mind\n", n);
		if (with_fault && n == storm_lines - storm_lines / 32)
			kthread_run(fault_in_thread, NULL, "storm");
		if (n % 64 == 0)
			cond_resched();
	}
	pr_info("storm: %u lines in %lld ms\n", n, ktime_ms_delta(ktime_get(), begun));
}

static void start_storm(void)
{
	print_lines(true);
}

static void start_chatter(void)
{
	print_lines(false);
}

static void start_stack_overflow(void)
{
	fault_stack_overflow(zero);
}

#define DIRECT(name) { #name, fault_##name }
#define STARTED(name) { #name, start_##name }
static const struct {
	const char *name;
	void (*commit)(void);
} faults[] = {
	DIRECT(null_read), DIRECT(null_write), DIRECT(null_call), DIRECT(bad_address), DIRECT(non_canonical),
	DIRECT(write_read_only), DIRECT(execute_data), DIRECT(divide), DIRECT(opcode), DIRECT(bug), DIRECT(warn),
	DIRECT(warn_on), DIRECT(panic), STARTED(stack_overflow), DIRECT(stack_protector), DIRECT(double_free),
	DIRECT(use_after_free), DIRECT(list_add), DIRECT(list_del), DIRECT(refcount_saturate),
	DIRECT(refcount_free), DIRECT(usercopy), DIRECT(bad_page), DIRECT(page_allocation),
	DIRECT(schedule_atomic), DIRECT(hung_task), STARTED(hung_mutex), DIRECT(soft_lockup), DIRECT(rcu_stall),
	STARTED(in_interrupt), STARTED(in_softirq), STARTED(in_thread), STARTED(tx_timeout), STARTED(storm),
	STARTED(chatter),
};

static ssize_t fault_write(struct file *file, const char __user *buffer, size_t length, loff_t *offset)
{
	char name[32] = "";
	size_t n;

	if (length >= sizeof(name) || copy_from_user(name, buffer, length))
		return -EINVAL;
	user_buffer = (void __user *)buffer;
	strim(name);
	for (n = 0; n < ARRAY_SIZE(faults); n++) {
		if (strcmp(name, faults[n].name) == 0) {
			faults[n].commit();
			return length;
		}
	}
	return -ENOENT;
}

static const struct proc_ops fault_ops = {
	.proc_write = fault_write,
};

static int __init fault_init(void)
{
	objects = kmem_cache_create("fault_objects", 96, 0, 0, NULL);
	return objects && proc_create("lastgasp_fault", 0200, NULL, &fault_ops) ? 0 : -ENOMEM;
}

static void __exit fault_exit(void)
{
	remove_proc_entry("lastgasp_fault", NULL);
	kmem_cache_destroy(objects);
	if (stuck) {
		unregister_netdev(stuck);
		free_netdev(stuck);
	}
}

module_init(fault_init);
module_exit(fault_exit);
MODULE_DESCRIPTION("Commits kernel faults on request");
MODULE_LICENSE("GPL");
