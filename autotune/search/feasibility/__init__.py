"""What will not fit: predictions of memory and time that learn from the trials of a study.

``formula`` adds up what a trial holds, ``memory_model`` scales that to what trials were seen to
hold, ``time_model`` learns how long they take, and ``judging`` decides what is not worth a try.
"""
