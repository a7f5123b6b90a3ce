/** What is not as it should be: for /readyz, and so a sentence that anybody may read. */
export interface Complaint {
  readonly part: string;
  readonly message: string;
  /** Whether the broker does its work all the same. */
  readonly serving: boolean;
}
